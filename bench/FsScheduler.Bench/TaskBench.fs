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
