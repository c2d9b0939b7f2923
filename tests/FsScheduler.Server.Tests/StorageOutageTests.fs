/// Which places hold new work back, and for how long.
module FsScheduler.Server.Tests.StorageOutageTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.TestKit

/// A clock that stands still, a log, and the outage that writes to it.
let private standing () =
    let log = RecordingLog()
    struct (ManualClock(), log, StorageOutage log)

let private full: unit -> Task<Result<int, string>> =
    fun () -> Task.FromResult(Error "no space left on device")

[<Tests>]
let tests =
    testList "storage outage" [
        test "each place is logged once, and holds new work back until it works again" {
            let struct (_, log, outage) = standing ()
            Expect.isNull outage.Reason "at first"
            outage.Begin("a", "full")
            outage.Begin("a", "full")
            outage.Begin("b", "away")

            Expect.equal
                (Set.ofArray ((nonNull outage.Reason).Split "; "))
                (set [ "a: full"; "b: away" ])
                "both"

            outage.End "a"
            Expect.equal outage.Reason "b: away" "one"
            outage.End "b"
            outage.End "b"
            Expect.isNull outage.Reason "at last"
            Expect.hasLength log.Lines 4 "two that began, two that ended"
        }

        testTask "an operation is tried again every second, until the disk takes the data" {
            let struct (clock, _, outage) = standing ()
            let mutable tries = 0

            let attempt () =
                tries <- tries + 1
                if tries < 3 then full () else Task.FromResult(Ok tries)

            let value = outage.RetryAsync("a", Clock clock, CancellationToken.None, attempt)

            do! clock.Asleep()
            Expect.equal outage.Reason "a: no space left on device" "held back"
            do! clock.Advance 999
            Expect.equal tries 1 "not within the second"
            do! clock.Advance 1
            Expect.equal tries 2 "after it"
            clock.Advance 1_000 |> ignore // nobody waits for the clock afterwards
            let! value = value
            Expect.equal value 3 "the value of the operation"
            Expect.isNull outage.Reason "over"
        }

        testTask "a wait that is cancelled holds nothing back" {
            let struct (clock, log, outage) = standing ()
            let stop = new CancellationTokenSource()
            let value = outage.RetryAsync("a", Clock clock, stop.Token, full)
            do! clock.Asleep()
            stop.Cancel()
            let! ended = Task.WhenAny(value, Task.Delay patience)
            stop.Dispose()
            Expect.isTrue (Object.ReferenceEquals(ended, value) && value.IsCanceled) "cancelled"
            Expect.isNull outage.Reason "new work is taken"
            Expect.hasLength log.Lines 1 "nothing is said to work again"
        }
    ]
