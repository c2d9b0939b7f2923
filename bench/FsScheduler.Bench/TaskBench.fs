namespace FsScheduler.Bench

open System
open System.Diagnostics
open System.IO

/// No-op tasks of 64 bytes from one client, over two workers, all on this machine.
module TaskBench =

    let private slots = 256

    let private warm (client: LeanClient) =
        let requests = LeanClient.Requests 20_000

        for _ in 1..10 do
            let before = client.Done
            client.Run(requests, (fun () -> client.Done >= before + 20_000L))

    let throughput () =
        use farm = new Farm(Path.GetTempPath(), [], 2, slots)
        use client = new LeanClient(farm.Port)
        warm client
        let count = 200_000
        let requests = LeanClient.Requests count
        let struct (schedulerBefore, workersBefore) = farm.ProcessorSeconds

        let rates = [
            for _ in 1..5 ->
                let before = client.Done
                let clock = Stopwatch.StartNew()
                client.Run(requests, (fun () -> client.Done >= before + int64 count))
                float count / clock.Elapsed.TotalSeconds
        ]

        let struct (scheduler, workers) = farm.ProcessorSeconds
        let micros seconds = seconds * 1e6 / (5.0 * float count)

        [
            {
                what = "tasks/s, pipelined"
                value = $"{Measure.median rates:N0}"
                note = $"median of 5 x {count:N0}; best {List.max rates:N0}"
            }
            {
                what = "processor time a task"
                value = $"{micros (scheduler - schedulerBefore):F1} us"
                note = $"in the scheduler; {micros (workers - workersBefore):F1} us in the workers"
            }
        ]

    /// Four stages that two workers have in turn, so that each task is handed over after each, beside a single one. Taken in
    /// turns: both share what else the machine does.
    let stages () =
        let count = 50_000
        let requests = LeanClient.Requests count

        let farmOf pipeline offers =
            let arguments = [ "--pipeline"; pipeline ]
            new Farm(Path.GetTempPath(), arguments, 2, slots, offers)

        let offer first second number = [ "--stages"; (if number = 1 then first else second) ]
        use single = farmOf "lower" (offer "lower" "lower")

        use four =
            farmOf "lower | trim | squeeze | upper" (offer "lower,squeeze" "trim,upper")

        use ofSingle = new LeanClient(single.Port)
        use ofFour = new LeanClient(four.Port)

        let seconds (client: LeanClient) =
            let before = client.Done
            let clock = Stopwatch.StartNew()
            client.Run(requests, (fun () -> client.Done >= before + int64 count))
            clock.Elapsed.TotalSeconds

        for client in [ ofSingle; ofFour ] do
            for _ in 1..3 do
                seconds client |> ignore

        let pairs = [ for _ in 1..5 -> seconds ofSingle, seconds ofFour ]
        let median = Measure.median (List.map snd pairs)

        [
            {
                what = "four stages on two workers, tasks/s"
                value = $"{float count / median:N0}"
                note =
                    $"median of 5 x {count:N0}; one task takes {Measure.median [ for one, four in pairs -> four / one ]:F2} times as long as one of a single stage, with four attempts"
            }
        ]

    /// What this disk takes to make a page durable, as the journal writes it: at the end of a file that grows.
    let private flushMicros (folder: string) =
        use file =
            File.OpenHandle(
                Path.Combine(folder, "flush"),
                FileMode.CreateNew,
                FileAccess.Write,
                FileShare.None
            )

        let page: byte[] = Array.zeroCreate 8_192

        [
            for number in 0L .. 499L do
                let started = Stopwatch.GetTimestamp()
                RandomAccess.Write(file, ReadOnlySpan page, number * 8_192L)
                RandomAccess.FlushToDisk file
                Stopwatch.GetElapsedTime(started).TotalMicroseconds
        ]

    let latency () =
        use farm = new Farm(Path.GetTempPath(), [], 2, slots)

        do
            use warming = new LeanClient(farm.Port)
            warm warming

        use client = new LeanClient(farm.Port)
        let request = LeanClient.Requests 1

        for _ in 1..5_000 do
            client.RoundTrip request

        let micros = [
            for _ in 1..5_000 ->
                let started = Stopwatch.GetTimestamp()
                client.RoundTrip request
                Stopwatch.GetElapsedTime(started).TotalMicroseconds
        ]

        [
            {
                what = "one task at a time, p50"
                value = $"{Measure.percentile 0.5 micros:F0} us"
                note =
                    $"5,000 of them; p99 {Measure.percentile 0.99 micros:F0} us; each waits for two flushes, one before PROCESS, one before DONE"
            }
            {
                what = "a flush of this disk, p50"
                value = $"{Measure.percentile 0.5 (flushMicros farm.Folder):F0} us"
                note = "8 KiB at the end of a file, alone"
            }
        ]
