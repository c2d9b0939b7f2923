module FsScheduler.Server.Tests.ActivityLogTests

open System
open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.TestKit

/// Goes on by hand, and nobody waits for it.
type private SteppedTime() =
    inherit TimeProvider()
    member val Ticks = 0L with get, set
    override _.TimestampFrequency = TimeSpan.TicksPerSecond
    override time.GetTimestamp() = time.Ticks

    member time.Step(ms: int64) =
        time.Ticks <- time.Ticks + ms * TimeSpan.TicksPerMillisecond

let private named number =
    match TaskName.parse $"f{number}.txt" with
    | Ok name -> name
    | Error reason -> failtest reason

let private lower =
    match Pipeline.parse (HashSet()) "lower|trim" with
    | Ok pipeline -> pipeline
    | Error error -> failtest $"{error}"

let private fresh () =
    let time = SteppedTime()
    let log = RecordingLog()
    time, log, ActivityLog(Clock time, log)

[<Tests>]
let tests =
    testList "the activity log" [
        test "tells of each file, with its pipeline and its result" {
            let _, log, activity = fresh ()
            activity.Taken(named 1, lower)
            activity.Published(named 1, "/r/f1.txt.out")

            Expect.equal
                log.Lines
                [
                    "Information: f1.txt is taken: lower | trim"
                    "Information: f1.txt is done: /r/f1.txt.out"
                ]
                "a line each"
        }

        test "counts what is more than its lines of a second, and says so once it is over" {
            let time, log, activity = fresh ()

            for number in 1 .. ActivityLog.LinesMax + 5 do
                activity.Taken(named number, lower)

            for number in 1..3 do
                activity.Published(named number, "out")

            time.Step 999L
            activity.Sweep()
            Expect.hasLength log.Lines ActivityLog.LinesMax "the second is not over"
            time.Step 1L
            activity.Sweep()
            activity.Sweep()

            Expect.equal
                (List.skip ActivityLog.LinesMax log.Lines)
                [ "Information: 5 more files were taken, 3 more results published" ]
                "the counts, once"
        }

        test "has lines again in the next second, after the counts of the last" {
            let time, log, activity = fresh ()

            for number in 0 .. ActivityLog.LinesMax do
                activity.Taken(named number, lower)

            time.Step 1_000L
            activity.Taken(named 77, lower)

            Expect.equal
                (List.skip ActivityLog.LinesMax log.Lines)
                [
                    "Information: 1 more files were taken, 0 more results published"
                    "Information: f77.txt is taken: lower | trim"
                ]
                "the counts come first"
        }

        test "says at the end what it has counted" {
            let _, log, activity = fresh ()

            for number in 0 .. ActivityLog.LinesMax do
                activity.Published(named number, "out")

            activity.Flush()
            activity.Flush()

            Expect.equal
                (List.skip ActivityLog.LinesMax log.Lines)
                [ "Information: 0 more files were taken, 1 more results published" ]
                "once"
        }
    ]
