/// Answers to LIST that take more than the machine knows.
module FsScheduler.Server.Tests.ListingsTests

open System
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

/// So many finished tasks, of which none is done.
let private cancelled (count: int) =
    let finished = [|
        for number in 1..count do
            {
                task = int64 number * 1L<taskId>
                name = $"{number}.txt"
                pipeline = "lower"
                attempt = 0
                isDone = false
                reason = "no"
                at = DateTimeOffset.UnixEpoch
            }
    |]

    {
        new IHistory with
            member _.EventsOf _ = struct ([||], [||])
            member _.EventsAfter(_, _) = [||]

            member _.Finished(after, upTo, _) =
                finished |> Array.filter (fun row -> row.task > after && row.task <= upTo)

            member _.WorkerName _ = ""
    }

/// Every event has a submission, which is named after it.
let private journal = {
    new IJournal with
        member _.AppendAsync(_, _, _) = ValueTask()

        member _.ReadSubmission number =
            let origin = Origin.Client(1L<sessionId>, Want.Nothing, None)
            Submission.Create(name $"{number}.txt", "", 0, origin, Content.empty)

        member _.ReadPayload _ = invalidOp "no payload is asked for"
        member _.DropAsync _ = invalidOp "nothing is dropped"
        member _.Size(_, _) = invalidOp "nothing is dropped"
    interface IAsyncDisposable with
        member _.DisposeAsync() = ValueTask.CompletedTask
}

/// Of a machine that holds no submissions in memory, and has had so many tasks, of which none is left.
let private agentOf (tasks: int) =
    let scheduler = Scheduler { settings with memory = 0L<B> }

    let totals = {
        completed = 0L
        cancelled = int64 tasks
        lastTask = int64 tasks * 1L<taskId>
        lastSession = 0L<sessionId>
        known = [||]
    }

    scheduler.Restore([ struct (1L, Instant.zero, Event.Dropped(1L, totals)) ], Instant.zero)
    SchedulerAgent(scheduler, journal, Release(fun _ -> ()), Clock(HandTime()))

let private ask history agent phase pattern =
    task {
        let query: TaskQuery = {
            after = 0L<taskId>
            most = 2
            phases = [| phase |]
            name = pattern
            stage = None
        }

        match! Listings.tasks journal history agent query with
        | struct (FromScheduler.List(last, more), Held(Bytes lines)) ->
            return struct (Encoding.UTF8.GetString lines, last, more)
        | other -> return failtest $"{other}"
    }

let private askFinished count phase pattern =
    ask (cancelled count) (agentOf count) phase pattern

[<Tests>]
let tests =
    testList "answers to LIST" [
        testTask "go on behind a page of which nothing fits" {
            let! struct (lines, last, more) = askFinished 10_001 Phase.Done None
            Expect.equal (lines, last, more) ("", 10_000L<taskId>, true) "there is one more"
            let! struct (lines, last, more) = askFinished 9_999 Phase.Done None
            Expect.equal (lines, last, more) ("", 9_999L<taskId>, false) "all were looked at"
        }

        testTask "have the names of finished tasks, and are narrowed by them" {
            let! struct (lines, last, more) = askFinished 3 Phase.Cancelled (Some "2.*")
            Expect.stringContains lines "\"name\":\"2.txt\"" "of that task"
            Expect.equal (lines.Split('\n').Length, last, more) (2, 2L<taskId>, true) "one line"
        }

        testTask "have the names that only the journal has, and are narrowed by them" {
            let agent = agentOf 0
            let origin = Origin.Client(1L<sessionId>, Want.Nothing, None)

            let submissions = [|
                for _ in 1..3 do
                    Input.Submit(
                        Submission.Create(name "not here", "", 0, origin, Content.empty),
                        ""
                    )
            |]

            do! ended (agent.PostAsync(submissions, CancellationToken.None))
            let! number = within (agent.QueryAsync _.LastEvent)

            let! struct (lines, last, more) =
                ask (cancelled 0) agent Phase.Queued (Some $"{number - 1L}.*")

            Expect.stringContains
                lines
                $"\"task\":2,\"name\":\"{number - 1L}.txt\""
                "read from there"

            Expect.equal (lines.Split('\n').Length, last, more) (2, 2L<taskId>, true) "one line"
        }
    ]
