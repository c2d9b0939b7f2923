namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Core
open FsScheduler.Machine

/// <summary>Reads events from their JSON.</summary>
/// <param name="spool">The folder of payload files.</param>
/// <param name="isLean">Whether submissions of clients stay in the journal: names and references that are needed only
/// for assignment are not read.</param>
/// <param name="toInstant">An instant from Unix milliseconds.</param>
[<Sealed>]
type EventReader(spool: string, isLean: bool, toInstant: int64 -> Instant) =
    let pipelines = Dictionary<string, Pipeline>()

    let pipelineOf (text: string) =
        match pipelines.TryGetValue text with
        | true, pipeline -> pipeline
        | _ ->
            match Pipeline.parseRecorded text with
            | Ok pipeline ->
                pipelines[text] <- pipeline
                pipeline
            | Error error -> EventText.damaged $"the pipeline '{text}': {error.message}"

    let parser = EventParser(pipelineOf, toInstant)
    let fields = parser.Fields
    // One `Origin` serves most submissions of a client without a key.
    let mutable latestSession = 0L
    let mutable latestWant = Result
    let mutable latestOrigin: Origin voption = ValueNone

    let integer slot = fields.Number slot
    let integerOr slot instead = fields.NumberOr(slot, instead)
    let text slot = fields.Text slot
    let tryText slot = fields.TryText slot

    let textOr slot instead =
        ValueOption.defaultValue instead (fields.TryText slot)

    let hasNumber slot = fields.HasNumber slot
    let hasText slot = fields.HasText slot
    let task () = integer Slot.task * 1L<taskId>
    let session () = integer Slot.session * 1L<sessionId>
    let count slot = int (integerOr slot 0L)
    /// The number is omitted for a first attempt.
    let attempt () = { task = task (); number = int (integerOr Slot.attempt 1L) }
    let time slot = toInstant (integer slot)

    let place (found: PayloadPlace voption) number : KeptContent voption =
        match found with
        | ValueSome place when not (isNull place.file) ->
            ValueSome(Held(Spooled(Path.Combine(spool, nonNull place.file), place.bytes * 1L<B>)))
        | ValueSome place -> ValueSome(Recorded(number, place.bytes * 1L<B>))
        | ValueNone -> ValueNone

    let placeOrEmpty found number =
        ValueOption.defaultValue KeptContent.empty (place found number)

    let want () =
        EventText.want (textOr Slot.want "result")

    let clientOf () =
        let session = integerOr Slot.session 0L
        let want = want ()

        match tryText Slot.key with
        | ValueSome key ->
            Origin.Client(
                session * 1L<sessionId>,
                want,
                Some { text = key; content = text Slot.content }
            )
        | _ ->
            if latestOrigin.IsNone || latestSession <> session || latestWant <> want then
                latestSession <- session
                latestWant <- want
                latestOrigin <- ValueSome(Origin.Client(session * 1L<sessionId>, want, None))

            latestOrigin.Value

    let origin () =
        if hasNumber Slot.whole then
            Piece(integer Slot.whole * 1L<taskId>, count Slot.piece)
        elif textOr Slot.origin "" = "folder" then
            Folder
        else
            clientOf ()

    /// A spooled payload stays known as a file, so that start-up does not delete it.
    let whole number origin : Submission =

        let make (payload: Payload) =
            Submission.Create(
                EventText.name (text Slot.name),
                textOr Slot.ref "",
                count Slot.priority,
                origin,
                payload
            )

        match origin with
        | Piece _ -> make Journaled // its range follows from the task that it is a piece of
        | Folder ->
            match parser.Input with
            | ValueSome version -> make (Input version)
            | ValueNone -> make (Kept(placeOrEmpty parser.Payload number))
        | Origin.Client _ ->
            match place parser.Payload number with
            | ValueSome(Held _ as file) -> make (Kept file)
            | _ when isLean -> (make Journaled).ToJournaled()
            | _ -> make Journaled

    let submission number : Submission =
        let origin = origin ()

        match origin, parser.Payload with
        | _, ValueSome place when not (isNull place.file) -> whole number origin
        // A million of them may be unfinished at a restart.
        | Origin.Client(_, (Result | Nothing), _), _ when isLean ->
            Submission.InJournal(count Slot.priority, origin)
        | _ -> whole number origin

    let failure at = {
        attempt = int (integer Slot.attempt)
        cause = EventText.cause (text Slot.cause)
        stages = text Slot.stages
        worker = textOr Slot.worker ""
        error = text Slot.error
        at = at
    }

    let contentHash () = {
        size = integer Slot.bytes * 1L<B>
        hash = EventText.hash (text Slot.hash)
    }

    let remainder number =
        match place parser.Payload number with
        | ValueSome result -> KeptResult result
        | ValueNone when hasText Slot.hash -> StoredResult(contentHash ())
        | ValueNone -> NothingKept

    let source () =
        match tryText Slot.file with
        | ValueSome file -> ValueSome(OfFile(EventText.name file))
        | _ ->
            if hasNumber Slot.task then
                ValueSome(OfTask(task ()))
            else
                ValueNone

    let note () =
        match text Slot.what with
        | "owner" -> Note.Owner(EventText.name (text Slot.name), source ())
        | "delivered" -> Note.Delivered(task ())
        | "flushed" -> Note.Flushed(integer Slot.upTo)
        | "damaged" -> Note.Damaged(text Slot.name)
        | other -> EventText.damaged $"a note of '{other}'"

    let state () =
        match text Slot.state with
        | "queued" -> CarriedState.Queued
        | "suspected" -> CarriedState.Suspected
        | "running" -> CarriedState.Running(integer Slot.on * 1L<sessionId>)
        | "split" -> CarriedState.Split
        | "waiting" -> CarriedState.Waiting(time Slot.until)
        | "publishing" -> CarriedState.Publishing
        | "succeeding" -> CarriedState.Succeeding(integer Slot.older * 1L<taskId>)
        | "quarantined" -> CarriedState.Quarantined
        | other -> EventText.damaged $"the state '{other}'"

    let progress number =
        if not (hasNumber Slot.attempt) then
            ValueNone
        else
            ValueSome {
                attempt = count Slot.attempt
                failures = count Slot.failures
                losses = count Slot.losses
                stage = count Slot.stage
                stageEnd = count Slot.stageEnd
                result = place parser.Result number
                pastFailures = List.ofSeq parser.PastFailures
                pieces = parser.Pieces
            }

    let carried number =
        match text Slot.what with
        | "task" ->
            Carried.Task {
                task = task ()
                submission = submission number
                pipeline = pipelineOf (text Slot.pipeline)
                state = state ()
                since = time Slot.since
                place = integer Slot.place
                progress = progress number
                submissionEvent = number
            }
        | "part" -> Carried.Part(task (), count Slot.piece, placeOrEmpty parser.Payload number)
        | "key" ->
            Carried.Key {
                key = { text = text Slot.key; content = text Slot.content }
                task = task ()
                attempts = count Slot.attempts
                error =
                    match tryText Slot.error with
                    | ValueSome error -> Some error
                    | _ -> None
                result = placeOrEmpty parser.Payload number
                want = want ()
                finished = time Slot.finished
                delivered =
                    if hasNumber Slot.delivered then
                        ValueSome(time Slot.delivered)
                    else
                        ValueNone
            }
        | "file" ->
            Carried.File {
                name = text Slot.name
                task = task ()
                pipeline = pipelineOf (text Slot.pipeline)
                version =
                    ValueOption.defaultWith (fun () -> EventText.damaged "no 'input'") parser.Input
                isDone = hasNumber Slot.isDone
                unflushed =
                    if hasText Slot.hash then
                        ValueSome(struct (integer Slot.upTo, contentHash ()))
                    else
                        ValueNone
            }
        | "owner" ->
            match source () with
            | ValueSome source -> Carried.Owner(EventText.name (text Slot.name), source)
            | ValueNone -> EventText.damaged "an owner that is neither a file nor a task"
        | "worker" -> Carried.Worker(session (), text Slot.worker, parser.Items)
        | other -> EventText.damaged $"a carried '{other}'"

    let others () =
        match tryText Slot.pipeline with
        | ValueSome text -> ValueSome(pipelineOf text)
        | _ -> ValueNone

    let cuts () = [| for size in parser.Sizes -> size * 1L<B> |]

    let make number (at: Instant) =
        match text Slot.event with
        | "submitted" ->
            Event.Submitted(task (), submission number, pipelineOf (text Slot.pipeline))
        | "assigned" ->
            Event.Assigned(
                attempt (),
                session (),
                (let first = count Slot.first
                 struct (first, int (integerOr Slot.last (int64 first + 1L))))
            )
        | "completed" -> Event.Completed(attempt (), remainder number)
        | "claimed" -> Event.Claimed(attempt (), session ())
        | "advanced" ->
            Event.Advanced(attempt (), count Slot.stage, placeOrEmpty parser.Payload number)
        | "split" -> Event.Split(attempt (), int (integer Slot.last), others (), cuts ())
        | "part" -> Event.Part(task (), count Slot.piece, placeOrEmpty parser.Payload number)
        | "lost" -> Event.PartLost(task (), count Slot.piece)
        | "speculated" ->
            Event.Speculated(task (), count Slot.piece, integer Slot.slow * 1L<taskId>)
        | "delayed" -> Event.Delayed(task (), failure at, integer Slot.delayMs * 1L<ms>)
        | "woken" -> Event.Woken(task ())
        | "requeued" -> Event.Requeued(task (), failure at)
        | "quarantined" -> Event.Quarantined(task (), failure at)
        | "retried" -> Event.Retried(task ())
        | "accepted" -> Event.Accepted(attempt (), AcceptedMark parser.Mark)
        | "cancelled" -> Event.Cancelled(task (), text Slot.reason)
        | "gone" -> Event.Gone(text Slot.name)
        | "joined" -> Event.Joined(session (), text Slot.worker, parser.Items)
        | "left" -> Event.Left(session (), text Slot.worker, text Slot.reason)
        | "opened" -> Event.Opened(Guid.Parse(text Slot.owner))
        | "noted" -> Event.Noted(note ())
        | "carried" -> Event.Carried(carried number)
        | "dropped" ->
            Event.Dropped(
                integer Slot.before,
                {
                    completed = integer Slot.completed
                    cancelled = integer Slot.cancelled
                    lastTask = integer Slot.lastTask * 1L<taskId>
                    lastSession = integer Slot.lastSession * 1L<sessionId>
                    known = parser.Items
                }
            )
        | other -> EventText.damaged $"the event '{other}'"

    /// <summary>Reads an event.</summary>
    /// <param name="json">The bytes.</param>
    /// <param name="start">Offset of the object.</param>
    /// <param name="upTo">Offset behind the last byte that may be read.</param>
    /// <param name="number">The number of the event.</param>
    /// <param name="at">The time of the event.</param>
    /// <param name="ending">Offset behind the object.</param>
    /// <exception cref="T:System.IO.InvalidDataException">The object is no event.</exception>
    member internal _.Read
        (json: byte[], start: int, upTo: int, number: int64, at: Instant, ending: byref<int>)
        : Event =
        ending <- parser.Parse(json, start, upTo)
        make number at

    /// The place of the payload of the latest event; for a carried task, that of the result of its latest stage.
    member _.PayloadPlace: PayloadPlace voption =
        match parser.Result with
        | ValueSome _ -> parser.Result
        | ValueNone -> parser.Payload

    /// The reference in the submission of the latest event.
    member _.Ref = textOr Slot.ref ""

    /// The place of the payload in the submission of the latest event.
    member _.SubmissionPlace: PayloadPlace voption = parser.Payload
