namespace FsScheduler.Bench

open System
open System.Diagnostics
open System.IO
open System.Threading
open FsScheduler.Stages

/// `sort` and `freq` over 256 MiB of text, beside GNU sort with as much memory and one thread, in the same run. What
/// counts is processor time: it is less disturbed by what else runs.
module SortBench =

    let private bytes = 256L * 1024L * 1024L

    /// Lines of eight words, of which there are 300,000, the frequent ones as frequent as in a language (Zipf).
    let private fill (path: string) =
        let random = Random 1
        let letter _ = char (int 'a' + random.Next 26)

        let words =
            Array.init 300_000 (fun _ -> String(Array.init (random.Next(2, 12)) letter))

        use file = new StreamWriter(path, false)
        let mutable written = 0L

        while written < bytes do
            for index in 0..7 do
                let word = words[int (Math.Pow(float words.Length, random.NextDouble())) - 1]
                file.Write word
                file.Write(if index = 7 then '\n' else ' ')
                written <- written + int64 word.Length + 1L

    let private seconds (wire: string) (input: string) (output: string) =
        let runner =
            StageRunner(BuiltIn.tryStartIn (nonNull (Path.GetDirectoryName output)), 1_000_000)

        use input = File.OpenRead input
        use output = File.Create output
        let own = Process.GetCurrentProcess()
        let before = own.TotalProcessorTime

        runner.RunAsync([| wire |], input, output, CancellationToken.None).GetAwaiter().GetResult()
        |> ignore

        own.Refresh()
        (own.TotalProcessorTime - before).TotalSeconds

    /// Nothing, where there is no GNU sort.
    let private secondsOfGnu (input: string) (output: string) =
        let start =
            ProcessStartInfo(
                "sort",
                [
                    "--parallel=1"
                    "-S"
                    "64M"
                    "-T"
                    nonNull (Path.GetDirectoryName output)
                    "-o"
                    output
                    input
                ]
            )

        start.Environment["LC_ALL"] <- "C"

        try
            use gnu = nonNull (Process.Start start)
            // Asked while it runs: when it has ended, there is no more to ask. Its last moments are small.
            let mutable used = TimeSpan.Zero

            while not (gnu.WaitForExit 5) do
                used <- gnu.TotalProcessorTime

            if gnu.ExitCode = 0 then Some used.TotalSeconds else None
        with
        | :? ComponentModel.Win32Exception
        | :? InvalidOperationException -> None

    let run () =
        let folder =
            Folders.create (Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..")))

        let input = Path.Combine(folder, "text")
        let output = Path.Combine(folder, "out")
        fill input
        seconds "sort" input output |> ignore // warm
        let ours = Measure.median [ for _ in 1..3 -> seconds "sort" input output ]

        let gnu =
            [ for _ in 1..3 -> secondsOfGnu input (output + "-gnu") ] |> List.choose id

        seconds "freq" input output |> ignore
        let freq = Measure.median [ for _ in 1..3 -> seconds "freq" input output ]
        let speed (time: float) = $"{256.0 / time:N0}"

        [
            {
                what = "sort, MiB/s of processor time"
                value = speed ours
                note =
                    match gnu with
                    | [] -> "there is no GNU sort here"
                    | times ->
                        let gnu = Measure.median times
                        $"median of 3 x 256 MiB; {ours / gnu:F2} of the time of GNU sort ({gnu:F1} s)"
            }
            {
                what = "freq, MiB/s of processor time"
                value = speed freq
                note = "median of 3 x 256 MiB, with 300,000 different words"
            }
        ]
