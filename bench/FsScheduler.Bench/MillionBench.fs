namespace FsScheduler.Bench

open System
open System.IO
open System.Threading

/// A million tasks of 100 bytes: what they take while they wait, and how long a scheduler needs to go on with them.
module MillionBench =

    let private count = 1_000_000
    let private size = 100
    let private batch = 100_000

    /// Until the scheduler has noticed that nothing happens.
    let private rest = TimeSpan.FromSeconds 25.0

    let private mebibytes (bytes: int64) = $"{bytes / 1_048_576L} MiB"

    let private restart what (farm: Farm) = {
        what = $"restart with a million {what} tasks"
        value = $"{farm.Restart().TotalSeconds:F1} s"
        note =
            $"until it listens, all of the journal read and checked; then {mebibytes farm.ResidentBytes} resident"
    }

    let private unfinished () =
        use farm = new Farm(Path.GetTempPath(), [], 0, 1)
        let idle = farm.ResidentBytes
        use client = new LeanClient(farm.Port)
        let requests = LeanClient.Requests(batch, size)

        for number in 1 .. count / batch do
            client.Run(requests, (fun () -> client.Accepted >= int64 (batch * number)))

        let burst = farm.ResidentBytes
        Thread.Sleep rest
        let resident = farm.ResidentBytes
        let each (bytes: int64) = (bytes - idle) / int64 count

        [
            {
                what = "memory of a queued task"
                value = $"{each resident} bytes"
                note =
                    $"all of it, with its {size} bytes of payload, at rest: {mebibytes resident} resident, {mebibytes idle} of them before; {each burst} bytes just after the last one came"
            }
            restart "unfinished" farm
        ]

    let private finished () =
        use farm = new Farm(Path.GetTempPath(), [], 2, 256)
        use client = new LeanClient(farm.Port)
        let requests = LeanClient.Requests(batch, size)

        for number in 1 .. count / batch do
            client.Run(requests, (fun () -> client.Done >= int64 (batch * number)))

        let journal = farm.JournalBytes

        [
            restart "finished" farm
            {
                what = "journal of a million finished tasks"
                value = mebibytes journal
                note =
                    $"{journal / int64 count} bytes a task with its {size} of payload; --retain-bytes is the bound"
            }
        ]

    let run () = unfinished () @ finished ()
