/// Every event is read as it was written.
module FsScheduler.Journal.Tests.EventTests

open System
open System.Collections
open System.Collections.Generic
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open FSharp.Reflection
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.TestKit

/// When the batch was decided.
let private at: Instant = { sinceStart = 77_000L<ms> }

let private toUnix (at: Instant) = int64 at.sinceStart
let private toInstant (at: int64) : Instant = { sinceStart = at * 1L<ms> }
let private bytesOf (text: string) = Encoding.UTF8.GetBytes text

// What other events have.

let private payloadOf (number: int64) = bytesOf $"payload of event {number}"

let private createFor origin priority (content: Content) =
    Submission.Create(name "dir/é '1'.txt", "ref «1»", priority, origin, content)

let private inputFor priority version =
    Submission.Create(name "dir/é '1'.txt", "ref «1»", priority, Folder, Input version)

let private submissionOf (number: int64) =
    createFor
        (Origin.Client(0L<sessionId>, Result, None))
        3
        (Bytes(bytesOf $"submission of event {number}"))

let private markOf (result: Content) : ResultMark =
    Holding { size = Content.size result; hash = 5UL }

// Everything that there can be.

let private text =
    Gen.elements [
        ""
        "lost"
        "it's \"bad\"\n\000\\ – até amanhã"
        "</b>&+\u2028 😀"
        String('x', 3_000)
    ]

let private fileName = Gen.elements [ "a.txt"; "d/é 'ü'.txt"; "\"q\"/日本" ]
let private names = Gen.elements [ [||]; [| "a" |]; [| "lower"; "exec:é \"x\"" |] ]
let private positive = Gen.elements [ 1L; 2L; 4_096L; 1L <<< 40; Int64.MaxValue ]
let private orZero = Gen.oneof [ Gen.constant 0L; positive ]
let private small = Gen.elements [ 0; 1; 7; 4_095 ]
let private taskId = positive |> Gen.map (fun value -> value * 1L<taskId>)
let private sessionId = positive |> Gen.map (fun value -> value * 1L<sessionId>)
let private size = orZero |> Gen.map (fun value -> value * 1L<B>)
let private sizes = Gen.arrayOf size

let private instant =
    Gen.elements [ -5_000L; 0L; 1L; 1_000_000_000_000L ] |> Gen.map toInstant

let private flag = Gen.elements [ true; false ]

let private pipeline =
    Gen.elements [ "lower"; "lower | upper | sort"; "a.lines | a.part:é" ]
    |> Gen.map (fun text ->
        match Pipeline.parseRecorded text with
        | Ok pipeline -> pipeline
        | Error error -> failwith error.message)

let private attempt =
    gen {
        let! task = taskId
        let! number = small
        return ({ task = task; number = number }: Attempt)
    }

let private proof =
    gen {
        let! size = size
        let! hash = Gen.elements [ 0UL; 7UL; UInt64.MaxValue ]
        return ({ size = size; hash = hash }: ContentHash)
    }

let private stamp =
    gen {
        let! size = size
        let! modified = Gen.elements [ -9L; 0L; 638_000_000_000_000_000L ]
        let! changed = orZero
        let! inode = orZero
        return ({ size = size; modified = modified; changed = changed; inode = inode }: FileVersion)
    }

let private memory =
    Gen.elements [ [||]; bytesOf "x"; Array.init 60_000 byte ] |> Gen.map Bytes

let private spooled = size |> Gen.map (fun size -> Spooled("/spool/17-é", size))

let private content = Gen.oneof [ memory; spooled ]

/// A result.
let private payload =
    Gen.oneof [
        Gen.map Held memory
        Gen.map Held spooled
        small
        |> Gen.map (fun number ->
            let bytes = payloadOf (int64 number)
            Recorded(int64 number, int64 bytes.Length * 1L<B>))
    ]

let private want = Gen.elements [ Result; File; Nothing ]

let private key =
    gen {
        let! text = text
        return ({ text = text; content = $"hash of {text}" }: Key)
    }

let private clientOrigin =
    gen {
        let! session = orZero
        let! want = want
        let! key = Gen.optionOf key
        return Origin.Client(session * 1L<sessionId>, want, key)
    }

let private priority = Gen.elements [ -2; 0; 9 ]

let private submission =
    Gen.oneof [
        Gen.map3 createFor clientOrigin priority content
        Gen.map2 inputFor priority stamp
        gen {
            let! whole = taskId
            let! index = small
            let! file = spooled
            let! start = size
            let! origin = clientOrigin

            return
                (createFor origin 1 file).Piece(whole, index, Slice(Kept(Held file), start, 9L<B>))
        }
    ]

/// As the machine has it when the journal has the rest.
let private filed =
    Gen.map2
        (fun origin priority -> (createFor origin priority Content.empty).ToJournaled())
        clientOrigin
        priority

let private cause =
    Gen.elements [ TaskError; WorkerLost; WorkerLeft; StorageError; WorkerUnable ]

let private trouble =
    gen {
        let! attempt = small
        let! cause = cause
        let! stages = text
        let! worker = text
        let! error = text
        let! at = instant

        return
            ({
                attempt = attempt
                cause = cause
                stages = stages
                worker = worker
                error = error
                at = at
            }
            : Failure)
    }

let private source =
    Gen.oneof [ fileName |> Gen.map (name >> OfFile); taskId |> Gen.map OfTask ]

let private optional gen =
    Gen.optionOf gen |> Gen.map ValueOption.ofOption

let private progress =
    gen {
        let! attempt = small
        let! failures = small
        let! losses = small
        let! stage = small
        let! stageEnd = small
        let! result = optional payload
        let! pastFailures = Gen.resize 3 (Gen.listOf trouble)
        let! cuts = sizes
        let! pipeline = pipeline
        let whole: CarriedPieces = { cuts = cuts; last = stage; pipeline = pipeline }
        let! pieces = optional (Gen.constant whole)

        return
            ({
                attempt = attempt
                failures = failures
                losses = losses
                stage = stage
                stageEnd = stageEnd
                result = result
                pastFailures = pastFailures
                pieces = pieces
            }
            : CarriedProgress)
    }

let private states = [
    Gen.constant CarriedState.Queued
    Gen.constant CarriedState.Suspected
    sessionId |> Gen.map CarriedState.Running
    Gen.constant CarriedState.Split
    instant |> Gen.map CarriedState.Waiting
    Gen.constant CarriedState.Publishing
    taskId |> Gen.map CarriedState.Succeeding
    Gen.constant CarriedState.Quarantined
]

let private carriedTask =
    gen {
        let! task = taskId
        let! submission = Gen.oneof [ submission; filed ]
        let! pipeline = pipeline
        let! state = Gen.oneof states
        let! since = instant
        let! place = Gen.elements [ -3L; 0L; 12L ]
        let! progress = optional progress
        let! home = positive

        return
            Carried.Task {
                task = task
                submission = submission
                pipeline = pipeline
                state = state
                since = since
                place = place
                progress = progress
                submissionEvent = home
            }
    }

let private carriedKey =
    gen {
        let! key = key
        let! task = taskId
        let! attempts = small
        let! error = Gen.optionOf text
        let! result = payload
        let! want = want
        let! finished = instant
        let! delivered = optional instant

        return
            Carried.Key {
                key = key
                task = task
                attempts = attempts
                error = error
                result = result
                want = want
                finished = finished
                delivered = delivered
            }
    }

let private carriedFile =
    gen {
        let! file = fileName
        let! version = stamp
        let! task = taskId
        let! pipeline = pipeline
        let! isDone = flag
        let! number = positive
        let! proof = proof
        let! unflushed = optional (Gen.constant (struct (number, proof)))

        return
            Carried.File {
                name = file
                version = version
                task = task
                pipeline = pipeline
                isDone = isDone
                unflushed = unflushed
            }
    }

let private named = Gen.map name fileName

let private part make =
    Gen.map3 (fun whole index part -> make (whole, index, part)) taskId small payload

let private totals =
    gen {
        let! completed = orZero
        let! cancelled = orZero
        let! lastTask = orZero
        let! lastSession = orZero
        let! known = names

        return
            ({
                completed = completed
                cancelled = cancelled
                lastTask = lastTask * 1L<taskId>
                lastSession = lastSession * 1L<sessionId>
                known = known
            }
            : Totals)
    }

/// One for each case, of events and of what is told by a case within them.
let private kinds: Gen<Event> list = [
    Gen.map3
        (fun id submission stages -> Event.Submitted(id, submission, stages))
        taskId
        submission
        pipeline
    gen {
        let! attempt = attempt
        let! session = sessionId
        let! first = small
        return Event.Assigned(attempt, session, struct (first, first + 1))
    }
    Gen.map3
        (fun attempt stage result -> Event.Advanced(attempt, stage, result))
        attempt
        small
        payload
    gen {
        let! attempt = attempt
        let! last = small
        let! others = optional pipeline
        let! cuts = sizes
        return Event.Split(attempt, last, others, cuts)
    }
    part Event.Part
    Gen.map3 (fun whole index slow -> Event.Speculated(whole, index, slow)) taskId small taskId
    Gen.map3
        (fun id trouble delay -> Event.Delayed(id, trouble, delay * 1L<ms>))
        taskId
        trouble
        orZero
    Gen.map Event.Woken taskId
    Gen.map2 (fun id trouble -> Event.Requeued(id, trouble)) taskId trouble
    Gen.map2 (fun attempt session -> Event.Claimed(attempt, session)) attempt sessionId
    Gen.map2 (fun id trouble -> Event.Quarantined(id, trouble)) taskId trouble
    Gen.map2 (fun attempt result -> Event.Accepted(attempt, AcceptedContent result)) attempt content
    Gen.map2
        (fun attempt mark -> Event.Accepted(attempt, AcceptedMark mark))
        attempt
        (Gen.oneof [
            Gen.constant Unmarked
            Gen.map Holding proof
            Gen.map2 (fun size modified -> ResultMark.Written(size, modified)) size orZero
        ])
    Gen.map2
        (fun attempt remainder -> Event.Completed(attempt, remainder))
        attempt
        (Gen.oneof [
            Gen.constant NothingKept
            Gen.map KeptResult payload
            Gen.map StoredResult proof
        ])
    Gen.map2 (fun id reason -> Event.Cancelled(id, reason)) taskId text
    Gen.map Event.Retried taskId
    Gen.map Event.Gone fileName
    Gen.map3 (fun id worker stages -> Event.Joined(id, worker, stages)) sessionId text names
    Gen.map3 (fun id worker reason -> Event.Left(id, worker, reason)) sessionId text text
    Gen.map Event.Opened (Gen.elements [ Guid.Empty; Guid.NewGuid() ])
    Gen.map2 (fun name owner -> Event.Noted(Note.Owner(name, owner))) named (optional source)
    Gen.map (Note.Delivered >> Event.Noted) taskId
    Gen.map (Note.Flushed >> Event.Noted) orZero
    Gen.map (Note.Damaged >> Event.Noted) fileName
    Gen.map Event.Carried carriedTask
    part (Carried.Part >> Event.Carried)
    Gen.map Event.Carried carriedKey
    Gen.map Event.Carried carriedFile
    Gen.map2 (fun name owner -> Event.Carried(Carried.Owner(name, owner))) named source
    Gen.map3
        (fun id worker stages -> Event.Carried(Carried.Worker(id, worker, stages)))
        sessionId
        text
        names
    Gen.map2 (fun before totals -> Event.Dropped(before, totals)) positive totals
]

/// Any odd number: for what is random, and the same each time.
let private gamma = 0x9E3779B97F4A7C15UL

// All cases.

let private isLeftOut (kind: Type) =
    kind = typeof<Pipeline> || kind = typeof<TaskName>

/// Everything that can be in a value of a type.
let rec private reach (found: HashSet<Type>) (kind: Type) =
    if not (isLeftOut kind) && found.Add kind then
        if kind = typeof<Submission> then
            reach found typeof<Origin>
            reach found typeof<Payload>
        elif kind.IsArray then
            reach found (nonNull (kind.GetElementType()))
        elif FSharpType.IsTuple kind then
            Array.iter (reach found) (FSharpType.GetTupleElements kind)
        elif FSharpType.IsRecord kind then
            for field in FSharpType.GetRecordFields kind do
                reach found field.PropertyType
        elif FSharpType.IsUnion kind then
            for case in FSharpType.GetUnionCases kind do
                for field in case.GetFields() do
                    reach found field.PropertyType

/// The cases that are in a value.
let rec private visit (found: HashSet<string>) (value: objnull) =
    match value with
    | null -> ()
    | :? Submission as submission ->
        visit found (box submission.Origin)
        visit found (box submission.Payload)
    | :? string
    | :? array<byte>
    | :? TaskName
    | :? Pipeline -> ()
    | value ->
        let kind = value.GetType()

        if FSharpType.IsUnion kind then
            let case, fields = FSharpValue.GetUnionFields(value, kind)
            found.Add $"{case.DeclaringType.Name}.{case.Name}" |> ignore

            for field in fields do
                visit found field
        elif FSharpType.IsTuple kind then
            for field in FSharpValue.GetTupleFields value do
                visit found field
        elif FSharpType.IsRecord kind then
            for field in FSharpValue.GetRecordFields value do
                visit found field
        else
            match value with
            | :? IEnumerable as items ->
                for item in items do
                    visit found item
            | _ -> ()

let private coverage =
    test "no case is missing here" {
        let kindsOfEvents = HashSet<Type>()
        reach kindsOfEvents typeof<Event>

        let all = [
            for kind in kindsOfEvents do
                if kind.Assembly = typeof<Event>.Assembly && FSharpType.IsUnion kind then
                    for case in FSharpType.GetUnionCases kind do
                        $"{kind.Name}.{case.Name}"
        ]

        let found = HashSet<string>()

        for index, kind in List.indexed kinds do
            for event in Gen.sampleWithSeed (Rnd(uint64 index + 1UL, gamma)) 20 200 kind do
                visit found (box event)

        Expect.isGreaterThan all.Length 60 "of all types"
        Expect.isEmpty (List.filter (found.Contains >> not) all) "not written by any test"
    }

// What becomes of them.

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
        coverage

        for index, kind in List.indexed kinds do
            test $"are read as they were written, kind {index}" {
                for event in Gen.sampleWithSeed (Rnd(uint64 index + 101UL, gamma)) 10 40 kind do
                    expectRead 1_000L [ event ]
            }

        testPropertyWithConfig
            config
            "are read as they were written, together"
            (Prop.forAll (Arb.fromGen (Gen.nonEmptyListOf (Gen.oneof kinds))) (expectRead 5L))

        test "are refused where they are something else" {
            let batch = write 7L [ Event.Woken 1L<taskId>; Event.Woken 2L<taskId> ]
            let reader = EventReader("/spool", false, toInstant)

            let refuses (text: string) count =
                let batch = { batch with events = ReadOnlyMemory(bytesOf text); count = count }

                let isRefused =
                    try
                        EventBatch.read reader toInstant batch |> ignore
                        false
                    with JournalRefused _ ->
                        true

                Expect.isTrue isRefused text

            refuses """[{"event":"woken","task":1}]""" 2
            refuses """[{"event":"woken","task":1},{"event":"woken","task":2}]""" 1
            refuses """[{"event":"woken"}]""" 1
            refuses """[{"event":"eaten","task":1}]""" 1
            refuses """[{"event":"woken","task":1.5}]""" 1
            refuses """[{"event":"woken","task":1""" 1
            refuses """[{"event":"gone","name":7}]""" 1
            refuses """[{"event":"submitted","task":1,"name":"","ref":"","pipeline":"lower"}]""" 1
            refuses """[{"event":"submitted","task":1,"name":"a","ref":"","pipeline":"|"}]""" 1
            refuses """[{"event":"woken","task":1}]]""" 1
            refuses """[{"event":"woken","task":1}""" 1
            refuses """[{"event":"woken","task":1},]""" 1
            refuses """[{"event":"woken","task":1e3}]""" 1
            refuses """[{"event":"woken","task":-}]""" 1
            refuses """[{"event":"woken","task":9223372036854775808}]""" 1
            refuses """[{"event":"woken" "task":1}]""" 1
            refuses """[{"event":"woken","task":1,}]""" 1
            refuses """[{"event":"woken","tas""" 1
            refuses """[{"event":"part","task":1,"piece":0,"payload":[1]}]""" 1
            refuses """[{"event":"part","task":1,"piece":0,"payload":{"at":1]}]""" 1
            refuses """{}""" 1
            refuses "" 1
        }

        test "may say of places and attempts all that there is" {
            let reader = EventReader("/spool", false, toInstant)

            let reads (json: string) expected place =
                let batch = write 7L [ Event.Woken 1L<taskId> ]
                let batch = { batch with events = ReadOnlyMemory(bytesOf json) }
                let struct (_, _, event) = (EventBatch.read reader toInstant batch)[0]
                Expect.equal event expected json
                Expect.equal reader.PayloadPlace place json

            let task = 5L<taskId>
            let session = 6L<sessionId>

            reads
                """[{"event":"assigned","task":5,"attempt":1,"session":6,"first":0,"last":1}]"""
                (Event.Assigned({ task = task; number = 1 }, session, struct (0, 1)))
                ValueNone

            reads
                """[{"event":"assigned","task":5,"session":6,"first":2}]"""
                (Event.Assigned({ task = task; number = 1 }, session, struct (2, 3)))
                ValueNone

            reads
                """[{"event":"part","task":5,"payload":{"at":3,"bytes":9}}]"""
                (Event.Part(task, 0, Recorded(7L, 9L<B>)))
                (ValueSome { at = 3; bytes = 9L; file = null })

            reads
                """[{"event":"part","task":5,"payload":[3,9]}]"""
                (Event.Part(task, 0, Recorded(7L, 9L<B>)))
                (ValueSome { at = 3; bytes = 9L; file = null })
        }

        test "leave out what is usual" {
            let json (event: Event) =
                Encoding.UTF8.GetString (write 1L [ event ]).events.Span

            let first = { task = 5L<taskId>; number = 1 }

            Expect.equal
                (json (Event.Assigned(first, 6L<sessionId>, struct (1, 2))))
                """[{"event":"assigned","task":5,"session":6,"first":1}]"""
                "one stage"

            Expect.equal
                (json (Event.Assigned({ first with number = 2 }, 6L<sessionId>, struct (0, 3))))
                """[{"event":"assigned","task":5,"attempt":2,"session":6,"last":3}]"""
                "three stages"

            Expect.equal
                (json (Event.Completed(first, KeptResult(Held(Bytes(bytesOf "abc"))))))
                """[{"event":"completed","task":5,"payload":[0,3]}]"""
                "bytes"
        }
    ]
