/// The same messages by FSharp.SystemTextJson: slower and plainer than the codec, which must not
/// disagree with it.
module FsScheduler.Protocol.Tests.CodecOracle

open System
open System.Text.Json
open System.Text.Json.Nodes
open System.Text.Json.Serialization
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Protocol.Tests.CodecLines

let private unless usual value =
    if value = usual then Skip else Include value

let private ofOption value = Skippable.ofOption value

let private pairs (attempts: Attempt[]) =
    if attempts.Length = 0 then
        Skip
    else
        Include [| for attempt in attempts -> [| int64 attempt.task; int64 attempt.number |] |]

/// The words of the protocol are the names of the cases.
let private word (case: 'case) =
    JsonNamingPolicy.KebabCaseLower.ConvertName $"{case}"

let private resultLine (attempt: Attempt) ok : ResultLine = {
    task = int64 attempt.task
    attempt = attempt.number
    ok = ok
    error = Skip
    retry = Skip
    stored = Skip
    unshared = Skip
    blame = Skip
    bytes = Skip
}

let private toSchedulerLine (message: ToScheduler) (size: Size) : ToSchedulerLine =
    let bytes = unless 0L (int64 size)

    match message with
    | ToScheduler.Hello hello ->
        HelloLine {
            protocol = hello.protocol
            role =
                (match hello.role with
                 | Role.Worker _ -> "worker"
                 | Role.Client -> "client")
            name = hello.name
            stages =
                (match hello.role with
                 | Role.Worker stages -> ofOption stages
                 | Role.Client -> Skip)
            token = ofOption hello.token
            holding = pairs hello.holding
            sharedFiles = unless false hello.sharedFiles
            bytes = bytes
        }
    | ToScheduler.Beat -> ToSchedulerLine.BeatLine { bytes = bytes }
    | ToScheduler.Ready slots -> ReadyLine { slots = slots; bytes = bytes }
    | ToScheduler.Result(attempt, Succeeded) ->
        ResultLine { resultLine attempt true with bytes = bytes }
    | ToScheduler.Result(attempt, Failed(error, retry)) ->
        ResultLine {
            resultLine attempt false with
                error = Include error
                retry = unless true retry
                bytes = bytes
        }
    | ToScheduler.Result(attempt, Unable error) ->
        ResultLine {
            resultLine attempt false with
                error = Include error
                blame = Include "worker"
                bytes = bytes
        }
    | ToScheduler.Stored(attempt, stored) ->
        ResultLine { resultLine attempt true with stored = Include(int64 stored); bytes = bytes }
    | ToScheduler.Unshared(attempt, error) ->
        ResultLine {
            resultLine attempt false with
                error = Include error
                unshared = Include true
                bytes = bytes
        }
    | ToScheduler.Submit submit ->
        SubmitLine {
            ref = submit.ref
            name = submit.name
            pipeline = unless "" submit.pipeline
            priority = unless 0 submit.priority
            key = ofOption submit.key
            want = unless "result" ((word submit.want).Replace("nothing", "none"))
            bytes = bytes
        }
    | ToScheduler.Status -> StatusLine { bytes = bytes }
    | ToScheduler.Cancel task -> CancelLine { task = int64 task; bytes = bytes }
    | ToScheduler.Retry task ->
        RetryLine { task = Include(int64 task); pipeline = Skip; all = Skip; bytes = bytes }
    | ToScheduler.RetryWith(task, pipeline) ->
        RetryLine {
            task = Include(int64 task)
            pipeline = Include pipeline
            all = Skip
            bytes = bytes
        }
    | ToScheduler.RetryAll ->
        RetryLine { task = Skip; pipeline = Skip; all = Include true; bytes = bytes }
    | ToScheduler.RetryAllWith pipeline ->
        RetryLine { task = Skip; pipeline = Include pipeline; all = Include true; bytes = bytes }
    | ToScheduler.Drain worker -> DrainLine { worker = worker; bytes = bytes }
    | ToScheduler.Explain task -> ExplainLine { task = int64 task; bytes = bytes }
    | ToScheduler.Events query ->
        EventsLine {
            task = query.task |> Option.map int64 |> ofOption
            after = query.after
            most = query.most
            bytes = bytes
        }

    | ToScheduler.List query ->
        ListLine {
            after = int64 query.after
            most = query.most
            states = unless [||] (Array.map word query.phases)
            name = ofOption query.name
            stage = ofOption query.stage
            bytes = bytes
        }
    | ToScheduler.Stages -> StagesLine { bytes = bytes }
    | ToScheduler.Fetch task -> FetchLine { task = int64 task; bytes = bytes }

let private ofFiles (value: SharedFiles -> 'value) (job: Process) =
    match job.files with
    | ValueSome files -> Include(value files)
    | ValueNone -> Skip

let private ofVersion (value: SharedFileVersion -> 'value) (job: Process) =
    match job.files |> ValueOption.bind _.version with
    | ValueSome version -> Include(value version)
    | ValueNone -> Skip

let private fromSchedulerLine (message: FromScheduler) (size: Size) : FromSchedulerLine =
    let bytes = unless 0L (int64 size)

    match message with
    | FromScheduler.Welcome welcome ->
        WelcomeLine {
            protocol = welcome.protocol
            session = welcome.session
            beatMs = int64 welcome.beat
            lostAfterMs = int64 welcome.lostAfter
            maxPayload = int64 welcome.maxPayload
            maxResult = int64 welcome.maxResult
            keep = pairs welcome.keep
            bytes = bytes
        }
    | FromScheduler.Beat -> BeatLine { bytes = bytes }
    | FromScheduler.Process job ->
        ProcessLine {
            task = int64 job.attempt.task
            attempt = job.attempt.number
            name = job.name
            stages = job.stages
            timeoutMs = int64 job.timeout
            piece =
                (match job.piece with
                 | ValueSome piece -> Include piece
                 | ValueNone -> Skip)
            from = ofFiles _.source job
            start = ofFiles (_.start >> int64) job
            size = ofFiles (_.size >> int64) job
            ``to`` = ofFiles _.target job
            length = ofVersion (_.length >> int64) job
            modifiedUs = ofVersion _.modified job
            bytes = bytes
        }
    | FromScheduler.Cancel attempt ->
        AttemptLine { task = int64 attempt.task; attempt = attempt.number; bytes = bytes }
    | FromScheduler.Accepted(ref, task) ->
        AcceptedLine { ref = ref; task = int64 task; bytes = bytes }
    | FromScheduler.Done finished ->
        DoneLine {
            ref = unless "" finished.ref
            task = int64 finished.task
            ok = finished.error.IsNone
            error = ofOption finished.error
            outcome = word finished.outcome
            attempts = finished.attempts
            bytes = bytes
        }
    | FromScheduler.Rejected(ref, code, message) ->
        RejectedLine { ref = ref; code = word code; message = message; bytes = bytes }
    | FromScheduler.Status report ->
        ReportLine {
            queued = report.queued
            running = report.running
            waiting = report.waiting
            publishing = report.publishing
            split = unless 0L report.split
            quarantined = report.quarantined
            finished = report.finished
            cancelled = report.cancelled
            idle = report.idle
            busy = report.busy
            uptimeMs = int64 report.uptime
            oldestMs = int64 report.oldest
            finished10s = report.finished10s
            finished60s = report.finished60s
            trouble = ofOption report.trouble
            awaited = ofOption report.awaited
            missing = unless [||] report.missing
            heldBack = unless [||] report.heldBack
            workers =
                report.workers
                |> Array.map (fun worker -> {
                    session = int64 worker.session
                    name = worker.name
                    slots = worker.slots
                    held = worker.held
                    finished = worker.finished
                    failed = worker.failed
                })
            bytes = bytes
        }
    | FromScheduler.Drain -> DismissLine { bytes = bytes }
    | FromScheduler.Explanation task -> ExplanationLine { task = int64 task; bytes = bytes }
    | FromScheduler.Events last -> LastLine { after = last; bytes = bytes }
    | FromScheduler.List(last, more) ->
        PageLine { after = int64 last; more = unless false more; bytes = bytes }
    | FromScheduler.Stages -> StageListLine { bytes = bytes }
    | FromScheduler.Fetch(task, name) ->
        FetchedLine { task = int64 task; name = name; bytes = bytes }
    | FromScheduler.Error(code, message) ->
        ErrorLine { code = word code; message = message; bytes = bytes }

let private config = { FsCheckConfig.defaultConfig with maxTest = 500; endSize = 60 }

/// What the codec writes is the JSON that the oracle writes; what the oracle writes, the codec reads
/// as the message; and what the codec writes, the oracle reads as its line.
let private agrees
    name
    (gen: Gen<'message>)
    encode
    decode
    (lineOf: 'message -> Size -> 'line when 'line: not null)
    =
    let check (message: 'message, bytes: Size) =
        let written = CodecSupport.lineOf encode message bytes
        let line = lineOf message bytes
        let expected = JsonSerializer.SerializeToUtf8Bytes<'line>(line, options)
        let asJson (bytes: byte[]) = JsonNode.Parse(ReadOnlySpan bytes)
        Expect.isTrue (JsonNode.DeepEquals(asJson written, asJson expected)) "written alike"

        if expected.Length <= Codec.lineBytesMax then
            Expect.equal (decode expected) (Ok { message = message; bytes = bytes }) "read"

        Expect.equal
            (nonNull (JsonSerializer.Deserialize(ReadOnlySpan written, typeof<'line>, options)))
            (line :> obj)
            "read by the oracle"

    testPropertyWithConfig
        config
        name
        (Prop.forAll (Arb.fromGen (Gen.zip gen Messages.sizes)) check)

[<Tests>]
let tests =
    testList "codec oracle" [
        agrees
            "agrees on what is said to a scheduler"
            Messages.toScheduler
            Codec.encodeToScheduler
            CodecSupport.decodeToScheduler
            toSchedulerLine
        agrees
            "agrees on what a scheduler says"
            Messages.fromScheduler
            Codec.encodeFromScheduler
            CodecSupport.decodeFromScheduler
            fromSchedulerLine
    ]
