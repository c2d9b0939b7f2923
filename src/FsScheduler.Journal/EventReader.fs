namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Text.Json
open FsScheduler.Core

/// Where bytes are that an event speaks of.
[<Struct>]
type PayloadPlace = {
    /// The first of them, in the payloads of the batch; -1: they are not there.
    at: int
    bytes: int64
    /// The file that has them instead; null: none.
    file: string | null
}

/// <summary>Reads the JSON of events back.</summary>
/// <param name="spool">The folder of payloads that are files.</param>
/// <param name="isLean">Of what a client has submitted, only what a scheduler needs that has the journal: names and references
/// that are of no use until a task is given out are left to it.</param>
/// <param name="toInstant">A time of the clock that the events are for, from Unix milliseconds.</param>
[<Sealed>]
type EventReader(spool: string, isLean: bool, toInstant: int64 -> Instant) =
    let pipelines = Dictionary<string, Pipeline>()
    let fields = EventFields()
    let mutable items: string[] = [||]
    let sizes = List<int64>()
    let troubles = List<Trouble>()
    let nowhere = { at = -1; bytes = 0L; file = null }
    let mutable payload = ValueNone
    let mutable result = ValueNone
    let mutable input: Stamp voption = ValueNone
    let mutable mark: ResultMark = Unmarked
    let mutable pieces: CarriedPieces voption = ValueNone
    // One value serves all submissions of a kind without a key.
    let origins = Dictionary<struct (int64 * Want), Origin>()

    let damaged what = raise (InvalidDataException what)

    let pipelineOf text =
        match pipelines.TryGetValue text with
        | true, pipeline -> pipeline
        | _ ->
            match Pipeline.parseRecorded text with
            | Ok pipeline ->
                pipelines[text] <- pipeline
                pipeline
            | Error error -> damaged $"the pipeline '{text}': {error.message}"

    let nameOf text =
        match TaskName.parse text with
        | Ok name -> name
        | Error reason -> damaged $"the name '{text}': {reason}"

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
    let attempt () = { task = task (); number = int (integer Slot.attempt) }
    let time slot = toInstant (integer slot)

    let place (found: PayloadPlace voption) number : Payload voption =
        match found with
        | ValueSome place when not (isNull place.file) ->
            ValueSome(Spooled(Path.Combine(spool, nonNull place.file), place.bytes * 1L<B>))
        | ValueSome place -> ValueSome(Recorded(number, place.bytes * 1L<B>))
        | ValueNone -> ValueNone

    let placeOrEmpty found number =
        ValueOption.defaultValue Payload.empty (place found number)

    let wantOf text =
        match EventNames.tryWant text with
        | Some want -> want
        | None -> damaged $"the want '{text}'"

    let want () = wantOf (textOr Slot.want "result")

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
            let kind = struct (session, want)

            match origins.TryGetValue kind with
            | true, origin -> origin
            | _ ->
                let origin = Origin.Client(session * 1L<sessionId>, want, None)

                if origins.Count < 1_000 then
                    origins[kind] <- origin

                origin

    let origin () =
        if hasNumber Slot.whole then
            Piece(integer Slot.whole * 1L<taskId>, count Slot.piece)
        elif textOr Slot.origin "" = "folder" then
            Folder
        else
            clientOf ()

    /// A spooled payload stays known as a file, so that nobody deletes it: only bytes are left to the journal.
    let submission number : Submission =
        let origin = origin ()

        let make payload =
            Submission.Create(
                nameOf (text Slot.name),
                textOr Slot.ref "",
                count Slot.priority,
                origin,
                payload
            )

        match origin with
        | Piece _ -> make Filed // its range follows from the task that it is a piece of
        | Folder ->
            match input with
            | ValueSome version -> make (Input version)
            | ValueNone -> make (placeOrEmpty payload number)
        | Origin.Client _ ->
            match place payload number with
            | ValueSome(Spooled _ as file) -> make file
            | _ when isLean -> (make Filed).File()
            | _ -> make Filed

    let causeOf text =
        match EventNames.tryCause text with
        | Some cause -> cause
        | None -> damaged $"the cause '{text}'"

    let trouble at = {
        attempt = int (integer Slot.attempt)
        cause = causeOf (text Slot.cause)
        stages = text Slot.stages
        worker = textOr Slot.worker ""
        error = text Slot.error
        at = at
    }

    let proof () = {
        size = integer Slot.bytes * 1L<B>
        hash = UInt64.Parse(text Slot.hash, NumberStyles.HexNumber, CultureInfo.InvariantCulture)
    }

    let remainder number =
        match place payload number with
        | ValueSome result -> KeptResult result
        | ValueNone when hasText Slot.hash -> StoredResult(proof ())
        | ValueNone -> NothingLeft

    let source () =
        match tryText Slot.file with
        | ValueSome file -> ValueSome(OfFile(nameOf file))
        | _ ->
            if hasNumber Slot.task then
                ValueSome(OfTask(task ()))
            else
                ValueNone

    let note () =
        match text Slot.what with
        | "owner" -> Note.Owner(nameOf (text Slot.name), source ())
        | "delivered" -> Note.Delivered(task ())
        | "flushed" -> Note.Flushed(integer Slot.upTo)
        | "damaged" -> Note.Damaged(text Slot.name)
        | other -> damaged $"a note of '{other}'"

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
        | other -> damaged $"the state '{other}'"

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
                result = place result number
                troubles = List.ofSeq troubles
                pieces = pieces
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
                home = number
            }
        | "part" -> Carried.Part(task (), count Slot.piece, placeOrEmpty payload number)
        | "key" ->
            Carried.Key {
                key = { text = text Slot.key; content = text Slot.content }
                task = task ()
                attempts = count Slot.attempts
                error =
                    match tryText Slot.error with
                    | ValueSome error -> Some error
                    | _ -> None
                result = placeOrEmpty payload number
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
                version = ValueOption.defaultWith (fun () -> damaged "no 'input'") input
                isDone = hasNumber Slot.isDone
                unflushed =
                    if hasText Slot.hash then
                        ValueSome(struct (integer Slot.upTo, proof ()))
                    else
                        ValueNone
            }
        | "owner" ->
            match source () with
            | ValueSome source -> Carried.Owner(nameOf (text Slot.name), source)
            | ValueNone -> damaged "an owner that is nobody"
        | "worker" -> Carried.Worker(session (), text Slot.worker, items)
        | other -> damaged $"a carried '{other}'"

    let others () =
        match tryText Slot.pipeline with
        | ValueSome text -> ValueSome(pipelineOf text)
        | _ -> ValueNone

    let cuts () = [| for size in sizes -> size * 1L<B> |]

    let make number (at: Instant) =
        match text Slot.event with
        | "submitted" ->
            Event.Submitted(task (), submission number, pipelineOf (text Slot.pipeline))
        | "assigned" ->
            Event.Assigned(
                attempt (),
                session (),
                struct (count Slot.first, int (integer Slot.last))
            )
        | "completed" -> Event.Completed(attempt (), remainder number)
        | "claimed" -> Event.Claimed(attempt (), session ())
        | "advanced" -> Event.Advanced(attempt (), count Slot.stage, placeOrEmpty payload number)
        | "split" -> Event.Split(attempt (), int (integer Slot.last), others (), cuts ())
        | "part" -> Event.Part(task (), count Slot.piece, placeOrEmpty payload number)
        | "speculated" ->
            Event.Speculated(task (), count Slot.piece, integer Slot.slow * 1L<taskId>)
        | "delayed" -> Event.Delayed(task (), trouble at, integer Slot.delayMs * 1L<ms>)
        | "woken" -> Event.Woken(task ())
        | "requeued" -> Event.Requeued(task (), trouble at)
        | "quarantined" -> Event.Quarantined(task (), trouble at)
        | "retried" -> Event.Retried(task ())
        | "accepted" -> Event.Accepted(attempt (), AcceptedMark mark)
        | "cancelled" -> Event.Cancelled(task (), text Slot.reason)
        | "gone" -> Event.Gone(text Slot.name)
        | "joined" -> Event.Joined(session (), text Slot.worker, items)
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
                    known = items
                }
            )
        | other -> damaged $"the event '{other}'"

    let clear () =
        fields.Clear()
        items <- [||]
        sizes.Clear()
        troubles.Clear()
        payload <- ValueNone
        result <- ValueNone
        input <- ValueNone
        mark <- Unmarked
        pieces <- ValueNone

    /// Where bytes are: an object of `at` or `file`, and `bytes`.
    let readPlace (reader: byref<Utf8JsonReader>) : PayloadPlace =
        let mutable found = nowhere

        while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
            let name = reader.GetString()
            reader.Read() |> ignore

            match name with
            | "at" -> found <- { found with at = reader.GetInt32() }
            | "bytes" -> found <- { found with bytes = reader.GetInt64() }
            | "file" -> found <- { found with file = reader.GetString() }
            | _ -> reader.Skip()

        found

    let readNumbers
        (reader: byref<Utf8JsonReader>)
        (into: Dictionary<string, int64>)
        : string | null =
        let mutable hash: string | null = null

        while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
            let name = nonNull (reader.GetString())
            reader.Read() |> ignore

            match reader.TokenType with
            | JsonTokenType.Number -> into[name] <- reader.GetInt64()
            | JsonTokenType.String -> hash <- reader.GetString()
            | _ -> reader.Skip()

        hash

    let readInput (reader: byref<Utf8JsonReader>) : Stamp =
        let found = Dictionary<string, int64>()
        readNumbers &reader found |> ignore
        let get name = found.GetValueOrDefault(name, 0L)

        {
            size = get "bytes" * 1L<B>
            modified = get "modified"
            changed = get "changed"
            inode = get "inode"
        }

    let readMark (reader: byref<Utf8JsonReader>) : ResultMark =
        let found = Dictionary<string, int64>()
        let hash = readNumbers &reader found
        let size = found.GetValueOrDefault("bytes", 0L) * 1L<B>

        match hash with
        | null -> ResultMark.Written(size, found.GetValueOrDefault("modified", 0L))
        | hash ->
            Holding {
                size = size
                hash = UInt64.Parse(hash, NumberStyles.HexNumber, CultureInfo.InvariantCulture)
            }

    let readSizes (reader: byref<Utf8JsonReader>) (into: List<int64>) =
        while reader.Read() && reader.TokenType = JsonTokenType.Number do
            into.Add(reader.GetInt64())

    let readList (reader: byref<Utf8JsonReader>) : string[] =
        let values = List<string>()

        while reader.Read() && reader.TokenType = JsonTokenType.String do
            values.Add(nonNull (reader.GetString()))

        values.ToArray()

    let readPieces (reader: byref<Utf8JsonReader>) : CarriedPieces =
        let cuts = List<int64>()
        let mutable last = 0
        let mutable pipeline = ""

        while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
            let name = reader.GetString()
            reader.Read() |> ignore

            match name with
            | "cuts" -> readSizes &reader cuts
            | "last" -> last <- reader.GetInt32()
            | "pipeline" -> pipeline <- nonNull (reader.GetString())
            | _ -> reader.Skip()

        {
            cuts = [| for cut in cuts -> cut * 1L<B> |]
            last = last
            pipeline = pipelineOf pipeline
        }

    let readTroubles (reader: byref<Utf8JsonReader>) =
        while reader.Read() && reader.TokenType = JsonTokenType.StartObject do
            let found = Dictionary<string, int64>()
            let said = Dictionary<string, string>()

            while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
                let name = nonNull (reader.GetString())
                reader.Read() |> ignore

                match reader.TokenType with
                | JsonTokenType.Number -> found[name] <- reader.GetInt64()
                | JsonTokenType.String -> said[name] <- nonNull (reader.GetString())
                | _ -> reader.Skip()

            troubles.Add {
                attempt = int found["attempt"]
                cause = causeOf said["cause"]
                stages = said["stages"]
                worker = said.GetValueOrDefault("worker", "")
                error = said["error"]
                at = toInstant found["at"]
            }

    let readObject (reader: byref<Utf8JsonReader>) (name: string) =
        match name with
        | "payload" -> payload <- ValueSome(readPlace &reader)
        | "result" -> result <- ValueSome(readPlace &reader)
        | "input" -> input <- ValueSome(readInput &reader)
        | "mark" -> mark <- readMark &reader
        | "pieces" -> pieces <- ValueSome(readPieces &reader)
        | _ -> reader.Skip()

    let readArray (reader: byref<Utf8JsonReader>) (name: string) =
        match name with
        | "cuts" -> readSizes &reader sizes
        | "troubles" -> readTroubles &reader
        | _ -> items <- readList &reader

    let readFields (reader: byref<Utf8JsonReader>) =
        clear ()

        while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
            let slot = Slot.find reader.ValueSpan
            let isNested = slot < 0 || slot = Slot.stages || slot = Slot.known
            let name = if isNested then reader.GetString() else ""
            reader.Read() |> ignore

            match reader.TokenType with
            | JsonTokenType.Number when slot >= 0 -> fields.SetNumber(slot, reader.GetInt64())
            | JsonTokenType.True when slot >= 0 -> fields.SetNumber(slot, 1L)
            | JsonTokenType.String when slot >= 0 -> fields.SetText(slot, &reader)
            | JsonTokenType.StartArray -> readArray &reader (nonNull name)
            | JsonTokenType.StartObject -> readObject &reader (nonNull name)
            | _ -> reader.Skip()

    /// <summary>Reads the next event.</summary>
    /// <param name="reader">At the beginning of its object; afterwards at the end of that.</param>
    /// <param name="number">The event's.</param>
    /// <param name="at">When it was.</param>
    /// <exception cref="T:System.IO.InvalidDataException">It is no event.</exception>
    member _.Read(reader: byref<Utf8JsonReader>, number: int64, at: Instant) : Event =
        readFields &reader
        make number at

    /// Of the event that was read last: where the bytes are that it was recorded with; of a task that was carried, those of the
    /// result of its latest stage.
    member _.PayloadPlace: PayloadPlace voption =
        match result with
        | ValueSome _ -> result
        | ValueNone -> payload

    /// Of the event that was read last: the reference that its task was submitted with.
    member _.Ref = textOr Slot.ref ""

    /// Of the event that was read last: where the bytes are that its task was submitted with.
    member _.SubmissionPlace: PayloadPlace voption = payload
