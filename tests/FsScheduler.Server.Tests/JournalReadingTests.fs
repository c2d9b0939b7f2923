/// What is read back from the journal: submissions and payloads, by the number of their event.
module FsScheduler.Server.Tests.JournalReadingTests

open System
open System.Collections.Generic
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Journal
open FsScheduler.TestKit
open FsScheduler.Journal.Tests.JournalSupport
open FsScheduler.Server.Tests.TestJournal

/// Task 1, which has a result after its first stage, a part of another, and a result that is kept.
let private withPayloads = [
    submitted 1 (bytes "the payload") (Some key)
    Event.Assigned(attemptOf 1 1, 1L<sessionId>, struct (0, 1))
    Event.Advanced(attemptOf 1 1, 1, Held(bytes "between"))
    Event.Part(taskId 1, 0, Held(bytes "part"))
    Event.Completed(attemptOf 1 2, KeptResult(Held(bytes "result")))
]

let private filed =
    (Submission.Create(
        name "elsewhere",
        "",
        7,
        Origin.Client(1L<sessionId>, Result, Some key),
        Content.empty
    ))
        .ToJournaled()

/// Task 1 as it is carried from an event, with the payload of another.
let private carriedFrom home (result: KeptContent voption) =
    Event.Carried(
        Carried.Task {
            task = taskId 1
            submission = filed
            pipeline = pipeline [ "a"; "b" ]
            state = CarriedState.Queued
            since = Instant.zero
            place = 3L
            progress =
                ValueSome {
                    attempt = 1
                    failures = 0
                    losses = 0
                    stage = 1
                    stageEnd = 1
                    result = result
                    pastFailures = []
                    pieces = ValueNone
                }
            submissionEvent = home
        }
    )

let private carriedKey result =
    Event.Carried(
        Carried.Key {
            key = key
            task = taskId 1
            attempts = 2
            error = None
            result = result
            want = Result
            finished = Instant.zero
            delivered = ValueNone
        }
    )

let private expectSubmission journal number =
    let read = (port journal).ReadSubmission number
    Expect.equal read.Name "t/é '1'" "name"
    Expect.equal read.Ref "r1" "reference"
    Expect.equal read.Priority 7 "priority"
    Expect.equal read.Payload Packed "payload"
    Expect.equal (Encoding.UTF8.GetString read.Packed.Span) "the payload" "bytes"

let private isMissing (read: unit -> 'T) =
    Expect.throwsT<IOException> (fun () -> read () |> ignore) "it is not there"

[<Tests>]
let tests =
    testList "journal" [
        testList "what is read" [
            testTask "is what was recorded, by the number of its event" {
                let store = new MemoryStore()
                let journal = openAs store
                do! append journal 1L withPayloads
                expectSubmission journal 1L
                Expect.equal (payload journal 3L) "between" "of a stage"
                Expect.equal (payload journal 4L) "part" "of a piece"
                Expect.equal (payload journal 5L) "result" "of the end"
                isMissing (fun () -> payload journal 2L)
                isMissing (fun () -> payload journal 6L)
                isMissing (fun () -> (port journal).ReadSubmission 3L)
                isMissing (fun () -> (port journal).ReadSubmission 6L)
                do! close journal
            }

            testTask "is where it was carried to, also when the rest is gone" {
                let store = new MemoryStore()
                let journal = openAs store
                do! append journal 1L withPayloads

                do!
                    append journal 6L [
                        carriedFrom 1L (ValueSome(Recorded(3L, 7L<B>)))
                        Event.Carried(Carried.Part(taskId 1, 0, Recorded(4L, 4L<B>)))
                        carriedKey (Recorded(5L, 6L<B>))
                    ]

                let expectAll first =
                    expectSubmission journal first
                    Expect.equal (payload journal first) "between" "of a stage"
                    Expect.equal (payload journal (first + 1L)) "part" "of a piece"
                    Expect.equal (payload journal (first + 2L)) "result" "of the end"

                expectAll 6L

                // Once more, from there.
                do!
                    append journal 9L [
                        carriedFrom 6L (ValueSome(Recorded(6L, 7L<B>)))
                        Event.Carried(Carried.Part(taskId 1, 0, Recorded(7L, 4L<B>)))
                        carriedKey (Recorded(8L, 6L<B>))
                    ]

                do! drop journal 9L
                Expect.equal (journal.Size(Int64.MaxValue, Instant.zero)).first 9L "dropped"
                expectAll 9L
                do! close journal
                let journal = openAs store
                Expect.equal (payload journal 11L) "result" "and after a restart"
                isMissing (fun () -> (port journal).ReadSubmission 1L)
                do! close journal
            }

            testTask "is nothing where a kept key has no result" {
                let store = new MemoryStore()
                let journal = openAs store
                do! append journal 1L [ submitted 1 (bytes "x") (Some key) ]
                do! append journal 2L [ Event.Cancelled(taskId 1, "no more") ]
                do! append journal 3L [ carriedKey (Recorded(2L, 0L<B>)) ]
                Expect.equal (payload journal 3L) "" "the task was cancelled"
                do! close journal
            }

            testTask "is not looked for in what was lost" {
                let store = new MemoryStore()
                let journal = openAs store
                do! append journal 1L withPayloads
                (store :> IJournalStore).Append [ Batch.lost 6L 3 0L ]
                isMissing (fun () -> (port journal).ReadSubmission 6L)
                isMissing (fun () -> payload journal 7L)
                isMissing (fun () -> payload journal 8L)
                do! append journal 9L [ Event.Woken(taskId 1) ]
                do! close journal
                let journal = openAs store

                Expect.equal (recovered journal) [ 1L; 2L; 3L; 4L; 5L; 9L ] "nor is it recovered"
                do! close journal
            }

            testTask "may not be durable yet where it is carried" {
                let store = new MemoryStore()
                let gate = new ManualResetEventSlim()
                let writing = new ManualResetEventSlim()
                let transactions = Collector<int>()

                store.OnStep <-
                    function
                    | StoreStep.Appending batches ->
                        transactions.Add batches.Count
                        writing.Set()
                        gate.Wait()
                    | _ -> ()

                let journal = openAs store
                let first = append journal 1L [ submitted 1 (bytes "the payload") (Some key) ]
                Expect.isTrue (writing.Wait(TimeSpan.FromSeconds 30.0)) "it writes"

                let others = [
                    append journal 2L [ Event.Advanced(attemptOf 1 1, 1, Held(bytes "between")) ]
                    append journal 3L [ carriedFrom 1L (ValueSome(Recorded(2L, 7L<B>))) ]
                    append journal 4L [
                        Event.Part(taskId 1, 0, Held(bytes "part"))
                        Event.Carried(Carried.Part(taskId 1, 0, Recorded(4L, 4L<B>)))
                    ]
                    append journal 6L [
                        Event.Completed(attemptOf 1 2, KeptResult(Held(bytes "result")))
                    ]
                    append journal 7L [ carriedKey (Recorded(6L, 6L<B>)) ]
                ]

                gate.Set()
                do! ended (Task.WhenAll(first :: others))
                Expect.equal transactions.Items [ 1; 5 ] "all of it at once"
                Expect.equal (payload journal 3L) "between" "of a stage"
                expectSubmission journal 3L
                Expect.equal (payload journal 5L) "part" "of a piece"
                Expect.equal (payload journal 7L) "result" "of the end"
                do! close journal
            }

            testTask "is refused where it is damaged" {
                let store = new MemoryStore()

                let batch: Batch = {
                    first = 1L
                    count = 2
                    at = 0L
                    owner = Guid.NewGuid()
                    events = ReadOnlyMemory """[{"event":"woken","task":1}]"""B
                    payloads = ReadOnlyMemory.Empty
                }

                (store :> IJournalStore).Append [ batch ]
                let journal = openAs store

                let refusal =
                    try
                        journal.Recover() |> Seq.iter ignore
                        ""
                    with JournalRefused message ->
                        message

                Expect.stringContains refusal "event" "says where"
                isMissing (fun () -> (port journal).ReadSubmission 1L)
                do! close journal
            }
        ]
    ]
