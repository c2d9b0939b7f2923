/// Answers to LIST that take more than the machine knows.
module FsScheduler.Runtime.Tests.ListingsTests

open System
open System.Text
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Runtime
open FsScheduler.Runtime.Tests.FileSupport

/// So many finished tasks, of which none is done. Their names are in the submissions alone.
let private cancelled (count: int) =
    let finished = [|
        for number in 1..count do
            {
                task = int64 number * 1L<taskId>
                name = ""
                pipeline = "lower"
                attempt = 0
                isDone = false
                reason = "no"
                at = DateTimeOffset.UnixEpoch
            }
    |]

    {
        new IHistory with
            member _.EventsOf _ = [||]
            member _.EventsAfter(_, _) = [||]

            member _.FinishedAfter(task, most) =
                finished |> Array.filter (fun row -> row.task > task) |> Array.truncate most

            member _.WorkerName _ = ""
    }

let private journal = {
    new IJournal with
        member _.AppendAsync(_, _, _) = ValueTask()

        member _.ReadSubmission task =
            let origin = Origin.Client(1L<sessionId>, Want.Nothing, None)
            Submission.Create(name $"{task}.txt", "", 0, origin, Payload.empty)

        member _.ReadPayload _ = invalidOp "no payload is asked for"
    interface IAsyncDisposable with
        member _.DisposeAsync() = ValueTask.CompletedTask
}

/// Finished ones only: the machine is not asked.
let private ask history phase pattern =
    task {
        let query: TaskQuery = {
            after = 0L<taskId>
            most = 2
            phases = [| phase |]
            name = pattern
            stage = None
        }

        match! Listings.tasks journal history (Unchecked.defaultof<SchedulerAgent>) query with
        | struct (FromScheduler.List(last, more), Bytes lines) ->
            return struct (Encoding.UTF8.GetString lines, last, more)
        | other -> return failtest $"{other}"
    }

let tests =
    testList "answers to LIST" [
        testTask "go on behind a page of which nothing fits" {
            let! struct (lines, last, more) = ask (cancelled 10_001) Phase.Done None
            Expect.equal (lines, last, more) ("", 10_000L<taskId>, true) "there is one more"
            let! struct (lines, last, more) = ask (cancelled 9_999) Phase.Done None
            Expect.equal (lines, last, more) ("", 9_999L<taskId>, false) "all were looked at"
        }

        testTask "have the names that only the journal has, and are narrowed by them" {
            let! struct (lines, last, more) = ask (cancelled 3) Phase.Cancelled (Some "2.*")
            Expect.stringContains lines "\"name\":\"2.txt\"" "read from there"
            Expect.equal (lines.Split('\n').Length, last, more) (2, 2L<taskId>, true) "one line"
        }
    ]
