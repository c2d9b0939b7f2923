namespace FsScheduler.Bench

open System
open System.Diagnostics
open System.IO
open System.Text

/// `lower` over one text of 1 GiB in Portuguese, with two workers, beside what people do today, in the same run.
module SplitBench =

    let private size = 1L <<< 30
    let private rounds = 3

    let private write (path: string) =
        let words =
            "A ação do coração é uma lição que não tem preço É manhã João e José vão à praça Avó pão mãe Ímpar Ótimo ÂNGULO"
                .Split
                ' '

        let random = Random 1
        let page = StringBuilder()

        while page.Length < 2_000_000 do
            for _ in 0 .. random.Next(3, 18) do
                page.Append(words[random.Next words.Length]).Append ' ' |> ignore

            page.Append '\n' |> ignore

        let bytes = Encoding.UTF8.GetBytes(string page)
        use file = File.Create path

        while file.Position < size do
            file.Write(ReadOnlySpan bytes)

    let private megabytesPerSecond (seconds: float) = float size / 1e6 / seconds

    /// How long a command of a shell takes; none, where it is not there or fails.
    let private shell (command: string) =
        let info = ProcessStartInfo("sh", [ "-c"; command ])
        info.Environment["LC_ALL"] <- "C"
        info.RedirectStandardError <- true
        let clock = Stopwatch.StartNew()
        use running = nonNull (Process.Start info)
        running.StandardError.ReadToEnd() |> ignore
        running.WaitForExit()

        if running.ExitCode = 0 then
            Some clock.Elapsed.TotalSeconds
        else
            None

    let private waitFor (path: string) =
        let clock = Stopwatch.StartNew()

        while not (File.Exists path) do
            if clock.Elapsed > TimeSpan.FromMinutes 5.0 then
                failwith $"{path} does not come"

            Threading.Thread.Sleep 2

        clock.Elapsed.TotalSeconds

    let private peers = [
        "cp", "cp IN OUT"
        "one tr, ASCII only", "tr A-Z a-z < IN > OUT"
        "GNU parallel --pipepart -k -j2 with tr, ASCII only",
        "parallel --pipepart -a IN --block 16M -k -j2 'tr A-Z a-z' > OUT"
    ]

    let run () = [
        use farm =
            new Farm(
                Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..")),
                [ "--settle"; "0ms" ],
                2,
                2
            )

        let at (name: string) = Path.Combine(farm.Folder, name)
        write (at "text")

        // Taken as it comes, by a rename, as from somebody who writes whole files.
        let once round =
            File.Copy(at "text", at $"text{round}")
            shell "sync" |> ignore
            let struct (before, workersBefore) = farm.ProcessorSeconds
            File.Move(at $"text{round}", Path.Combine(farm.Entrada, $"text{round}"))
            let result = Path.Combine(farm.Resultados, $"text{round}.out")
            let seconds = waitFor result
            let struct (after, workersAfter) = farm.ProcessorSeconds

            if FileInfo(result).Length < size then
                failwith "the result is too short"

            File.Delete result
            File.Delete(Path.Combine(farm.Entrada, $"text{round}"))
            struct (seconds, after - before, workersAfter - workersBefore)

        once 0 |> ignore // warm

        let measured = [
            for round in 1..rounds do
                let ours = once round

                let theirs = [
                    for _, command in peers do
                        File.Delete(at "out")
                        shell "sync" |> ignore
                        shell (command.Replace("IN", at "text").Replace("OUT", at "out"))
                ]

                ours, theirs
        ]

        let ours =
            measured
            |> List.map (fun (struct (seconds, _, _), _) -> seconds)
            |> Measure.median

        let cpu =
            measured
            |> List.map (fun (struct (_, scheduler, workers), _) -> scheduler + workers)
            |> Measure.median

        {
            what = "lower over 1 GiB, pieces, 2 workers, MB/s"
            value = $"{megabytesPerSecond ours:N0}"
            note =
                $"median of {rounds}; {cpu:F1} s of processor; the scheduler holds {farm.ResidentBytes >>> 20} MiB"
        }

        for index, (name, _) in List.indexed peers do
            match measured |> List.choose (fun (_, theirs) -> theirs[index]) with
            | [] -> ()
            | seconds ->
                let median = Measure.median seconds

                {
                    what = $"the same by {name}, MB/s"
                    value = $"{megabytesPerSecond median:N0}"
                    note = $"{median / ours:F2} of our time"
                }
    ]
