namespace FsScheduler.Bench

open System
open System.Diagnostics
open System.IO
open System.Text

/// `lower` over one text of 1 GiB in Portuguese, with two workers, beside what people do today, in the same run.
module SplitBench =

    let private size = 1L <<< 30
    let private rounds = 5

    /// Until all that is hot has been compiled for good.
    let private warmUps = 6

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

    let private root = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, ".."))

    let private ways = [
        "TCP", [], []
        "shared files", [ "--shared-files" ], [ "--shared-files"; root ]
    ]

    /// Taken as it comes, by a rename, as from somebody who writes whole files.
    let private once (text: string) round (farm: Farm) =
        let input = Path.Combine(farm.Entrada, $"text{round}")
        let result = Path.Combine(farm.Resultados, $"text{round}.out")
        let incoming = Path.Combine(farm.Folder, "incoming")
        File.Copy(text, incoming)
        shell "sync" |> ignore
        Memory.touch ()
        let struct (before, workersBefore) = farm.ProcessorSeconds
        File.Move(incoming, input)
        let seconds = waitFor result
        let struct (after, workersAfter) = farm.ProcessorSeconds

        if FileInfo(result).Length < size then
            failwith "the result is too short"

        File.Delete result
        File.Delete input
        struct (seconds, after - before + workersAfter - workersBefore)

    let run () = [
        let folder = Folders.create root
        let text = Path.Combine(folder, "text")
        let out = Path.Combine(folder, "out")
        write text

        let farms = [
            for _, ours, theirs in ways ->
                new Farm(root, [ "--settle"; "0ms" ] @ ours, 2, 2, (fun _ -> theirs))
        ]

        for farm in farms do
            for _ in 1..warmUps do
                once text 0 farm |> ignore

        let measured = [
            for round in 1..rounds do
                let ours = List.map (once text round) farms

                let theirs = [
                    for _, command in peers do
                        File.Delete out
                        shell "sync" |> ignore
                        Memory.touch ()
                        shell (command.Replace("IN", text).Replace("OUT", out))
                ]

                ours, theirs
        ]

        let medianOf index part =
            measured |> List.map (fun (ours, _) -> part ours[index]) |> Measure.median

        let seconds = [
            for index in 0 .. ways.Length - 1 ->
                medianOf index (fun (struct (seconds, _)) -> seconds)
        ]

        for index, (way, _, _) in List.indexed ways do
            let cpu = medianOf index (fun (struct (_, cpu)) -> cpu)
            let struct (scheduler, worker) = farms[index].PeakBytes

            {
                what = $"lower over 1 GiB, pieces, 2 workers, {way}, MB/s"
                value = $"{megabytesPerSecond seconds[index]:N0}"
                note =
                    $"median of {rounds}; {cpu:F1} s of processor; peak memory: scheduler {scheduler >>> 20} MiB, worker {worker >>> 20} MiB"
            }

        for index, (name, _) in List.indexed peers do
            match measured |> List.choose (fun (_, theirs) -> theirs[index]) with
            | [] -> ()
            | theirs ->
                let median = Measure.median theirs

                {
                    what = $"the same by {name}, MB/s"
                    value = $"{megabytesPerSecond median:N0}"
                    note =
                        $"{median / seconds[0]:F2} of our time over TCP, {median / seconds[1]:F2} with shared files"
                }

        for farm in farms do
            (farm :> IDisposable).Dispose()
    ]
