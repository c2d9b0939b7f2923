namespace FsScheduler.Bench

open System
open System.Diagnostics
open System.IO

/// Programs as stages: many small files beside GNU parallel in the same run, and lines through one process.
module ExecBench =

    let private files = 2_000
    let private lines = 4_000_000
    let private content = Array.create 200 (byte 'a')

    let private fill folder =
        for number in 1..files do
            File.WriteAllBytes(Path.Combine(folder, $"f{number:D4}"), content)

    let private waitFor (client: LeanClient) before count =
        let clock = Stopwatch.StartNew()

        while client.AskFinished() - before < count do
            if clock.Elapsed > TimeSpan.FromMinutes 5.0 then
                failwith "stuck"

            Threading.Thread.Sleep 2

    /// One worker with two slots, warm; from the moment when all files are there at once to the last result.
    let private ours (root: string) =
        let arguments = [ "--settle"; "0ms"; "--expect"; "exec:cat"; "--pipeline"; "exec:cat" ]

        use farm = new Farm(root, arguments, 1, 2, (fun _ -> [ "--allow-exec"; "cat" ]))
        use client = new LeanClient(farm.Port)

        let batch name =
            let arriving = Path.Combine(farm.Folder, name)
            Directory.CreateDirectory arriving |> ignore
            fill arriving
            let before = client.AskFinished()
            let clock = Stopwatch.StartNew()
            Directory.Move(arriving, Path.Combine(farm.Entrada, name))
            waitFor client before files
            float files / clock.Elapsed.TotalSeconds

        batch "warm" |> ignore
        batch "batch"

    let private parallelPath =
        [ "/usr/bin/parallel"; "/usr/local/bin/parallel" ] |> List.tryFind File.Exists

    /// The same files, two at a time, each to a file of its own.
    let private gnuParallel (path: string) (root: string) =
        let folder = Folders.create root
        let input = Directory.CreateDirectory(Path.Combine(folder, "in")).FullName
        let output = Directory.CreateDirectory(Path.Combine(folder, "out")).FullName
        fill input
        let list = Path.Combine(folder, "list")
        File.WriteAllLines(list, Directory.EnumerateFiles input)
        let clock = Stopwatch.StartNew()

        use running =
            Process.Start(
                ProcessStartInfo(path, [ "-j2"; "-a"; list; $"cat {{}} > {output}/{{/}}.out" ])
            )
            |> nonNull

        running.WaitForExit()
        let rate = float files / clock.Elapsed.TotalSeconds

        if Directory.GetFiles(output).Length <> files then
            failwith "parallel has not written every result"

        rate

    let private besideParallel root = [
        match parallelPath with
        | None -> {
            what = "exec:cat, files/s"
            value = $"{ours root:N0}"
            note = "GNU parallel is not installed"
          }
        | Some path ->
            // In turn, since the machine is not always the same.
            let pairs = [ for _ in 1..3 -> struct (gnuParallel path root, ours root) ]
            let theirs = pairs |> Seq.map (fun struct (theirs, _) -> theirs) |> Measure.median
            let ours = pairs |> Seq.map (fun struct (_, ours) -> ours) |> Measure.median

            let ratio =
                pairs |> Seq.map (fun struct (theirs, ours) -> ours / theirs) |> Measure.median

            {
                what = "exec:cat, files/s"
                value = $"{ours:N0}"
                note = $"median of 3 x {files:N0}; {ratio:F2} of the {theirs:N0} of parallel -j2"
            }
    ]

    /// One file of many lines through `cat`.
    let private throughLines (root: string) =
        let arguments = [
            "--settle"
            "0ms"
            "--expect"
            "exec-lines:cat"
            "--pipeline"
            "exec-lines:cat"
        ]

        use farm = new Farm(root, arguments, 1, 1, (fun _ -> [ "--allow-exec"; "cat" ]))
        use client = new LeanClient(farm.Port)
        let arriving = Path.Combine(farm.Folder, "lines")
        File.WriteAllLines(arriving, Seq.init lines (fun number -> $"line {number}"))

        let rates = [
            for run in 1..3 do
                let before = client.AskFinished()
                let file = Path.Combine(farm.Folder, $"lines{run}")
                File.Copy(arriving, file)
                let clock = Stopwatch.StartNew()
                File.Move(file, Path.Combine(farm.Entrada, $"lines{run}"))
                waitFor client before 1
                float lines / clock.Elapsed.TotalSeconds
        ]

        {
            what = "exec-lines:cat, lines/s"
            value = $"{Measure.median rates:N0}"
            note = $"median of 3 x {lines:N0} in one file, from entrada/ to resultados/"
        }

    let run () =
        let root =
            if Directory.Exists "/dev/shm" then
                "/dev/shm"
            else
                Path.GetTempPath()

        [ yield! besideParallel root; throughLines root ]
