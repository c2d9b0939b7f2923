/// Every event is read as it was written.
module FsScheduler.Journal.Tests.EventTests

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Journal.Tests.EventGenerators
open FsScheduler.TestKit
open FsScheduler.TestKit.SchedulerFixture

/// When the batch was decided.
let private at: Instant = { sinceStart = 77_000L<ms> }

let private toUnix (at: Instant) = int64 at.sinceStart

let private submissionOf (number: int64) =
    createFor
        (Origin.Client(0L<sessionId>, Result, None))
        3
        (Bytes(utf8 $"submission of event {number}"))

let private markOf (result: Content) : ResultMark =
    ResultMark.Holding { size = Content.size result; hash = 5UL }

/// A payload as it is read of an event with this number.
let private placed number payload =
    match payload with
    | Held(Bytes bytes) -> Recorded(number, int64 bytes.Length * 1L<B>)
    | Recorded(_, size) -> Recorded(number, size)
    | other -> other

/// Compared apart.
let private noSubmission = inputFor 0 (FileVersion.ofTime 0L<B> 0L)

let private submissionIn event =
    match event with
    | Event.Submitted(_, submission, _) -> ValueSome submission
    | Event.Carried(Carried.Task carried) -> ValueSome carried.submission
    | _ -> ValueNone

/// All of it, where the journal has it at another event.
let private wholeOf event =
    match event with
    | Event.Carried(Carried.Task carried) when carried.submission.IsJournaled ->
        ValueSome((submissionOf carried.submissionEvent).From carried.submission.Origin)
    | _ -> submissionIn event

let private withoutSubmission event =
    match event with
    | Event.Submitted(id, _, pipeline) -> Event.Submitted(id, noSubmission, pipeline)
    | Event.Carried(Carried.Task carried) ->
        Event.Carried(Carried.Task { carried with submission = noSubmission })
    | other -> other

/// What is read of an event that is written at a number.
let private asRead number event =
    let placed = placed number
    let now (trouble: Failure) = { trouble with Failure.at = at }

    match withoutSubmission event with
    | Event.Advanced(attempt, stage, result) -> Event.Advanced(attempt, stage, placed result)
    | Event.Part(whole, index, part) -> Event.Part(whole, index, placed part)
    | Event.Delayed(id, trouble, delay) -> Event.Delayed(id, now trouble, delay)
    | Event.Requeued(id, trouble) -> Event.Requeued(id, now trouble)
    | Event.Quarantined(id, trouble) -> Event.Quarantined(id, now trouble)
    | Event.Accepted(attempt, AcceptedContent result) ->
        Event.Accepted(attempt, AcceptedMark(markOf result))
    | Event.Completed(attempt, KeptResult result) ->
        Event.Completed(attempt, KeptResult(placed result))
    | Event.Carried(Carried.Task carried) ->
        let progress =
            carried.progress
            |> ValueOption.map (fun (progress: CarriedProgress) -> {
                progress with
                    CarriedProgress.result = ValueOption.map placed progress.result
            })

        Event.Carried(
            Carried.Task { carried with CarriedTask.submissionEvent = number; progress = progress }
        )
    | Event.Carried(Carried.Part(whole, index, part)) ->
        Event.Carried(Carried.Part(whole, index, placed part))
    | Event.Carried(Carried.Key key) ->
        Event.Carried(Carried.Key { key with CarriedKey.result = placed key.result })
    | other -> other

/// The bytes that it was recorded with; none: it has no payload of its own, or a file.
let private bytesIn event : byte[] voption =
    let bytes payload =
        match payload with
        | Held(Bytes bytes) -> ValueSome bytes
        | Recorded(number, _) -> ValueSome(payloadOf number)
        | _ -> ValueNone

    match event with
    | Event.Advanced(_, _, payload)
    | Event.Part(_, _, payload)
    | Event.Completed(_, KeptResult payload)
    | Event.Carried(Carried.Part(_, _, payload)) -> bytes payload
    | Event.Carried(Carried.Key key) -> bytes key.result
    | Event.Carried(Carried.Task carried) ->
        carried.progress
        |> ValueOption.bind (fun (progress: CarriedProgress) -> progress.result)
        |> ValueOption.bind bytes
    | _ -> ValueNone

let private slice (batch: Batch) (place: PayloadPlace voption) =
    match place with
    | ValueSome place when isNull place.file ->
        ValueSome(batch.payloads.Slice(place.at, int place.bytes).ToArray())
    | _ -> ValueNone

let private expectSubmission
    (batch: Batch)
    (reader: EventReader)
    (whole: Submission)
    (read: Submission)
    =
    Expect.equal read.Name whole.Name "name"
    Expect.equal read.Priority whole.Priority "priority"
    Expect.equal read.Origin whole.Origin "origin"

    match whole.Origin with
    | Origin.Client _ ->
        Expect.equal reader.Ref whole.Ref "reference"

        let expected = if whole.Payload.IsPacked then Journaled else whole.Payload

        Expect.equal read.Payload expected "payload"
        let packed = whole.Packed.ToArray()
        let found = slice batch reader.SubmissionPlace |> ValueOption.defaultValue [||]
        Expect.isTrue (packed = found) "bytes"
    | Folder -> Expect.equal read.Payload whole.Payload "the version"
    | Piece _ -> Expect.equal read.Payload Journaled "it follows from the task"

let private write first (events: Event list) : Batch =
    let writer =
        EventWriter {
            toUnix = toUnix
            mark = markOf
            submission = submissionOf
            payload = payloadOf
        }

    // What could not all be written leaves nothing behind.
    writer.Write(Event.Woken 1L<taskId>)
    writer.Clear()
    List.iter writer.Write events
    let struct (json, payloads) = writer.Take()

    {
        first = first
        count = events.Length
        at = toUnix at
        owner = Guid.NewGuid()
        events = ReadOnlyMemory json
        payloads = ReadOnlyMemory payloads
    }

let private expectRead first (events: Event list) =
    let batch = write first events
    let reader = EventReader("/spool", false, toInstant)
    let lean = EventReader("/spool", true, toInstant)
    let read = EventBatch.read reader toInstant batch
    let offsets = EventBatch.offsets batch
    Expect.equal read.Length events.Length "all of them"

    for index, written in List.indexed events do
        let number = first + int64 index
        let struct (readNumber, readAt, event) = read[index]
        Expect.equal (readNumber, readAt) (number, at) "where and when"
        Expect.equal (withoutSubmission event) (asRead number written) "the event"

        // By itself.
        let json = EventBatch.json batch offsets index
        let alone = EventBatch.readOne reader batch number at json
        Expect.equal (withoutSubmission alone) (asRead number written) "the event by itself"
        Expect.equal (EventTask.find alone) (EventTask.find written) "its task"

        match bytesIn written with
        | ValueSome bytes ->
            Expect.isTrue (slice batch reader.PayloadPlace = ValueSome bytes) "bytes"
        | ValueNone -> ()

        match wholeOf written, submissionIn alone with
        | ValueSome whole, ValueSome read -> expectSubmission batch reader whole read
        | _ -> ()

        // What a scheduler is restored with knows of a submission what is needed before it is given out.
        let lean = EventBatch.readOne lean batch number at json
        Expect.equal (withoutSubmission lean) (asRead number written) "the event for a scheduler"

        match wholeOf written, submissionIn lean with
        | ValueSome whole, ValueSome read ->
            Expect.equal (read.Origin, read.Priority) (whole.Origin, whole.Priority) "of its task"

            match whole.Origin with
            | Origin.Client(_, (Result | Nothing), _) when whole.Payload.IsPacked ->
                Expect.equal read.MemorySize 0L<B> "the rest is left to the journal"
            | _ -> Expect.equal read.Name whole.Name "and its name"
        | _ -> ()

let private config = { FsCheckConfig.defaultConfig with maxTest = 400; endSize = 12 }

[<Tests>]
let tests =
    testList "events in a batch" [
        for kind in 0 .. kinds.Length - 1 do
            test $"are read as they were written, kind {kind}" {
                for event in sample kind 10 40 do
                    expectRead 1_000L [ event ]
            }

        testPropertyWithConfig
            config
            "are read as they were written, together"
            (Prop.forAll (Arb.fromGen (Gen.nonEmptyListOf (Gen.oneof kinds))) (expectRead 5L))

        test "are refused where they are something else" {
            let batch = write 7L [ Event.Woken 1L<taskId>; Event.Woken 2L<taskId> ]
            let reader = EventReader("/spool", false, toInstant)

            for text, count in
                [
                    """[{"event":"woken","task":1}]""", 2
                    """[{"event":"woken","task":1},{"event":"woken","task":2}]""", 1
                    """[{"event":"woken"}]""", 1
                    """[{"event":"eaten","task":1}]""", 1
                    """[{"event":"woken","task":1.5}]""", 1
                    """[{"event":"woken","task":1""", 1
                    """[{"event":"gone","name":7}]""", 1
                    """[{"event":"submitted","task":1,"name":"","ref":"","pipeline":"lower"}]""", 1
                    """[{"event":"submitted","task":1,"name":"a","ref":"","pipeline":"|"}]""", 1
                    """[{"event":"woken","task":1}]]""", 1
                    """[{"event":"woken","task":1}""", 1
                    """[{"event":"woken","task":1},]""", 1
                    """[{"event":"woken","task":1e3}]""", 1
                    """[{"event":"woken","task":-}]""", 1
                    """[{"event":"woken","task":9223372036854775808}]""", 1
                    """[{"event":"woken" "task":1}]""", 1
                    """[{"event":"woken","task":1,}]""", 1
                    """[{"event":"woken","tas""", 1
                    """[{"event":"part","task":1,"piece":0,"payload":[1]}]""", 1
                    """[{"event":"part","task":1,"piece":0,"payload":{"at":1]}]""", 1
                    """{}""", 1
                    "", 1
                ] do
                let batch = { batch with events = ReadOnlyMemory(utf8 text); count = count }

                refused (fun () -> EventBatch.read reader toInstant batch) |> ignore
        }

        test "may say of places and attempts all that there is" {
            let reader = EventReader("/spool", false, toInstant)

            let part = Event.Part(taskId 5, 0, Recorded(7L, 9L<B>))
            let place = ValueSome { at = 3; bytes = 9L; file = null }

            for json, expected, place in
                [
                    """[{"event":"assigned","task":5,"attempt":1,"session":6,"first":0,"last":1}]""",
                    assigned 5 1 6 0 1,
                    ValueNone

                    """[{"event":"assigned","task":5,"session":6,"first":2}]""",
                    assigned 5 1 6 2 3,
                    ValueNone

                    """[{"event":"part","task":5,"payload":{"at":3,"bytes":9}}]""", part, place
                    """[{"event":"part","task":5,"payload":[3,9]}]""", part, place
                ] do
                let batch = write 7L [ Event.Woken 1L<taskId> ]
                let batch = { batch with events = ReadOnlyMemory(utf8 json) }
                let struct (_, _, event) = (EventBatch.read reader toInstant batch)[0]
                Expect.equal event expected json
                Expect.equal reader.PayloadPlace place json
        }

        test "leave out what is usual" {
            for event, expected in
                [
                    assigned 5 1 6 1 2, """[{"event":"assigned","task":5,"session":6,"first":1}]"""
                    assigned 5 2 6 0 3,
                    """[{"event":"assigned","task":5,"attempt":2,"session":6,"last":3}]"""
                    Event.Completed(attempt 5 1, KeptResult(Held(bytes "abc"))),
                    """[{"event":"completed","task":5,"payload":[0,3]}]"""
                ] do
                let json = Encoding.UTF8.GetString (write 1L [ event ]).events.Span
                Expect.equal json expected "as short as this"
        }
    ]
