namespace FsScheduler.Bench

open System
open System.Diagnostics
open System.IO

/// 10,000 files of 200 bytes, from `entrada/` to `resultados/`, beside a bare loop in the same run.
module FileBench =

    let private count = 10_000
    let private content = Array.create 200 (byte 'A')

    let private fill folder =
        for number in 1..count do
            File.WriteAllBytes(Path.Combine(folder, $"f{number:D5}"), content)

    /// What a program does that does nothing else: read, write a temporary name, rename. One thread.
    let private bareLoop (root: string) =
        let folder = Folders.create root
        let input = Directory.CreateDirectory(Path.Combine(folder, "in")).FullName
        let output = Directory.CreateDirectory(Path.Combine(folder, "out")).FullName
        fill input
        let clock = Stopwatch.StartNew()

        for number in 1..count do
            let bytes = File.ReadAllBytes(Path.Combine(input, $"f{number:D5}"))
            let temporary = Path.Combine(output, $".f{number:D5}.tmp")
            File.WriteAllBytes(temporary, bytes)
            File.Move(temporary, Path.Combine(output, $"f{number:D5}.out"), true)

        float count / clock.Elapsed.TotalSeconds

    /// From the moment when all files are moved in at once to the last result.
    let private farm (root: string) =
        use farm = new Farm(root, [ "--settle"; "0ms" ], 2, 256)
        use client = new LeanClient(farm.Port)
        client.Run(LeanClient.Requests 50_000, (fun () -> client.Done >= 50_000L)) // warm
        let arriving = Path.Combine(farm.Folder, "arriving")
        Directory.CreateDirectory arriving |> ignore
        fill arriving

        let before = client.AskFinished()
        let clock = Stopwatch.StartNew()
        Directory.Move(arriving, Path.Combine(farm.Entrada, "batch")) // all of them at once
        let mutable there = 0

        while there < count do
            if clock.Elapsed > TimeSpan.FromMinutes 2.0 then
                failwith $"stuck: {there} results"

            Threading.Thread.Sleep 5
            there <- client.AskFinished() - before

        float count / clock.Elapsed.TotalSeconds

    let private row name (root: string) =
        // In turn, since the disk is not always the same.
        let pairs = [ for _ in 1..3 -> struct (bareLoop root, farm root) ]
        let bare = pairs |> Seq.map (fun struct (bare, _) -> bare) |> Measure.median
        let ours = pairs |> Seq.map (fun struct (_, ours) -> ours) |> Measure.median

        let ratio =
            pairs |> Seq.map (fun struct (bare, ours) -> ours / bare) |> Measure.median

        {
            what = $"files/s, {name}"
            value = $"{ours:N0}"
            note = $"median of 3 x {count:N0}; {ratio:F2} of a bare loop's {bare:N0}"
        }

    let run () = [
        if Directory.Exists "/dev/shm" then
            row "in memory (/dev/shm)" "/dev/shm"
        row "on disk" (Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..")))
    ]
