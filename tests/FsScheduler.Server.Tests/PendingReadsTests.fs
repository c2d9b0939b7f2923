/// What is still to be read of the journal is not dropped.
module FsScheduler.Server.Tests.PendingReadsTests

open System.Collections.Generic
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.Protocol
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

let private recorded number =
    OutgoingPayload.Kept(Recorded(number, 4L<B>))

let private submission =
    Submission.Create(name "a", "", 0, Origin.Folder, Content.empty)

/// The payload of a task.
let private given payload =
    OutgoingPayload.Task(submission, payload)

/// A clock, reads that are pending, and what was dropped.
let private pending () =
    let time = HandTime()
    let dropped = List<int64>()
    struct (time, PendingReads((fun before -> dropped.Add before), Clock(time)), dropped)

[<Tests>]
let tests =
    testList "pending reads of the journal" [
        test "hold back what is dropped until the last of them is over" {
            let struct (_, reads, dropped) = pending ()
            reads.Begin(recorded 4L)
            reads.Begin(given (Kept(Recorded(4L, 4L<B>))))
            reads.Begin 9L
            reads.Drop 9L
            Expect.isEmpty dropped "two are to be read from event 4"
            reads.End(recorded 4L)
            Expect.isEmpty dropped "one is"
            reads.End(given (Kept(Recorded(4L, 4L<B>))))
            Expect.sequenceEqual dropped [ 9L ] "event 9 stays, and is still to be read"
            reads.End 9L
            Expect.sequenceEqual dropped [ 9L ] "once"
        }

        test "hold back nothing that is not dropped, and nothing where none is pending" {
            let struct (_, reads, dropped) = pending ()
            reads.Drop 5L
            reads.Begin(recorded 7L)
            reads.Drop 7L
            reads.Begin(OutgoingPayload.Own(Bytes [| 1uy |]))
            reads.Begin(OutgoingPayload.Kept(Held(Spooled("x", 1L<B>))))
            reads.Begin(given (Slice(Input(FileVersion.ofTime 1L<B> 1L), 0L<B>, 1L<B>)))
            reads.Drop 6L
            Expect.sequenceEqual dropped [ 5L; 7L; 6L ] "at once"
        }

        test "hold back all that is to be dropped, for ten minutes at most" {
            let struct (time, reads, dropped) = pending ()
            reads.Begin(recorded 1L)
            reads.Drop 5L
            time.Advance(seconds 300.0)
            reads.Drop 9L
            time.Advance(seconds 299.9)
            reads.Check()
            Expect.isEmpty dropped "the first has waited for less"
            time.Advance(seconds 0.1)
            reads.Check()
            Expect.sequenceEqual dropped [ 9L ] "both"
            reads.End(recorded 1L)
            reads.Check()
            Expect.sequenceEqual dropped [ 9L ] "once"
        }

        test "are those of messages that are posted, until they are opened or given up" {
            use folder = new TempFolder()
            let struct (_, reads, dropped) = pending ()
            let inputs = InputFolder(folder.At "in")

            let bodies: IPayloadSource<FromScheduler, OutgoingPayload> =
                PayloadSource(
                    inputs,
                    new MemoryJournal(1),
                    reads,
                    ignore,
                    (fun _ _ -> ()),
                    ignore,
                    UnreadInputs(inputs, (fun _ _ -> ())),
                    NullLogger.Instance
                )

            let departure number : SchedulerMessage = {
                message = FromScheduler.Beat
                payload = recorded number
            }

            bodies.Posted(departure 1L)
            bodies.Posted(departure 2L)
            reads.Drop 5L
            bodies.Open(departure 1L) |> ignore
            Expect.isEmpty dropped "the second is on its way"
            bodies.Unsent(departure 2L)
            Expect.sequenceEqual dropped [ 5L ] "none is"
        }
    ]
