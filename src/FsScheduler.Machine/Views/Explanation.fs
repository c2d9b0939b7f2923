namespace FsScheduler.Machine

open System
open System.Globalization
open System.Text.Json
open FsScheduler.Core

/// A recorded event with its number and its time.
type PastEvent = (struct (int64 * DateTimeOffset * Event))

/// Why a task is in its state, by its recorded events and its present location.
type Explanation = {
    task: TaskId
    name: string
    /// The state, in one word.
    state: string
    /// Sentences for people, in the order of events; the last one tells the present state.
    sentences: string list
    events: PastEvent[]
}

module Explanation =

    let private time (at: DateTimeOffset) = at.ToString "yyyy-MM-dd HH:mm:ss zzz"

    let private span (duration: Duration) =
        if duration < 10_000L<ms> then
            $"{duration} ms"
        else
            TimeSpan.FromMilliseconds(float (int64 duration)).ToString @"d\.hh\:mm\:ss"

    /// The sentence for an event; none for a step of the usual way.
    let private sentence (workerName: SessionId -> string) (past: PastEvent) =
        let struct (_, at, event) = past

        match event with
        | Event.Submitted(_, submission, pipeline) ->
            match submission.Origin with
            | Piece(whole, index) ->
                Some
                    $"It is piece {index + 1} of task {whole}, '{submission.Name}', since {time at}, for {Pipeline.print pipeline}."
            | Folder
            | Client _ ->
                Some
                    $"It was submitted at {time at} as '{submission.Name}', for {Pipeline.print pipeline}."
        | Event.Assigned(attempt, session, _) ->
            Some $"Attempt {attempt.number} was given to {workerName session} at {time at}."
        | Event.Claimed(attempt, session) ->
            Some
                $"The scheduler was started again; {workerName session} came back at {time at} and went on with attempt {attempt.number}."
        | Event.Advanced(attempt, stage, _) ->
            Some $"Attempt {attempt.number} finished the stages before number {stage + 1}."
        | Event.Split(attempt, _, others, cuts) ->
            let stages =
                match others with
                | ValueSome pipeline -> $", for {Pipeline.print pipeline}"
                | ValueNone -> ""

            Some
                $"Attempt {attempt.number} is worked on in {cuts.Length} pieces, since {time at}: each is a task of its own{stages}."
        | Event.PartLost(_, index) ->
            Some
                $"The result of piece {index + 1} was gone when the scheduler was started again at {time at}: the piece is run again."
        | Event.Speculated(_, index, slow) ->
            Some
                $"Piece {index + 1}, task {slow}, took much longer than the others: at {time at} a second worker was given it too. The first result counts."
        | Event.Delayed(_, failure, delay) when failure.cause = WorkerUnable ->
            Some
                $"Attempt {failure.attempt} could not be run by {failure.worker} at {time at}: {failure.error}. That counts for nothing against the task; it was to be tried again after {delay} ms."
        | Event.Delayed(_, failure, delay) ->
            Some
                $"Attempt {failure.attempt} failed at {time at}: {failure.error}. It was to be tried again after {delay} ms."
        | Event.Requeued(_, failure) ->
            Some
                $"Attempt {failure.attempt} came back at {time at}: {failure.error}. It is run again."
        | Event.Quarantined(_, failure) ->
            Some
                $"It went into quarantine at {time at}, after attempt {failure.attempt}: {failure.error}."
        | Event.Retried _ -> Some $"Somebody had it tried again at {time at}."
        | Event.Completed(attempt, _) ->
            Some $"It was done at {time at}, by attempt {attempt.number}."
        | Event.Cancelled(_, reason) -> Some $"It was cancelled at {time at}: {reason}."
        | Event.Carried(Carried.Task carried) ->
            Some
                $"It was submitted as '{carried.submission.Name}', for {Pipeline.print carried.pipeline}; what the journal had of it before {time at} is dropped."
        | Event.Woken _
        | Event.Part _
        | Event.Accepted _
        | Event.Gone _
        | Event.Joined _
        | Event.Left _
        | Event.Opened _
        | Event.Noted _
        | Event.Carried _
        | Event.Dropped _ -> None

    let private noWorker stage =
        $"No worker is connected that runs '{stage}': start one, or wait for it."

    let private tasksBefore before =
        match before with
        | 0 -> "no task is before it"
        | 1 -> "1 task is before it"
        | before ->
            String.Format(CultureInfo.InvariantCulture, "{0:N0} tasks are before it", before)

    let private present location =
        match location with
        | InQueue(stage, false, before) ->
            "queued", $"It is in the queue; {tasksBefore before}. {noWorker stage}"
        | InQueue(stage, true, 0) ->
            "queued", $"It is the next one for '{stage}', and waits for a free slot."
        | InQueue(stage, true, before) ->
            "queued", $"It is in the queue for '{stage}'; {tasksBefore before}."
        | HeldBack(stage, next) ->
            "queued",
            $"It is in the queue for '{stage}', and held back: enough waits for '{next}' already (--spool-bytes)."
        | OnlyFailing(stage, worker, others, error) ->
            let others = if others = 0 then "" else $", and {others} more"

            "queued",
            $"It is in the queue for '{stage}', and who runs that only fails: {worker}{others}, last with: {error}. They are held back, and tried with one task now and then."
        | Avoiding(stage, failedBy) ->
            let names = String.Join(", ", failedBy)

            "queued",
            $"It is in the queue for '{stage}', and waits for another worker than those that have failed it: {names}."
        | Alone(stage, false) ->
            "suspected",
            $"It was lost with two workers, and is to run alone on a third. {noWorker stage}"
        | Alone(stage, true) ->
            "suspected",
            $"It was lost with two workers, and waits for one that runs '{stage}' and has nothing else."
        | RunningOn(worker, since) -> "running", $"{worker} has been at it for {span since}."
        | Awaited worker ->
            "running",
            $"{worker} had it when the scheduler was started again, and is expected back."
        | BeingCut -> "split", "It is large, and being cut into pieces."
        | InPieces(count, finished, [||]) when count = finished ->
            "split", $"All {count} pieces are done; their results are being put together."
        | InPieces(count, finished, tasks) ->
            let shown = tasks |> Seq.truncate 10 |> Seq.map string |> String.concat ", "
            let more = if tasks.Length > 10 then ", …" else ""

            "split",
            $"{finished} of {count} pieces are done; the others are the tasks {shown}{more}."
        | BackedOff left -> "waiting", $"It is tried again in {span left}."
        | BeingPublished -> "publishing", "Its result is being put into its place."
        | Behind older ->
            "succeeding", $"It waits until task {older}, an older version of its file, is done."
        | InQuarantine ->
            "quarantined", "It stays in quarantine until somebody says 'retry' or 'cancel'."

    /// How a task ended, by its events.
    let private ended (events: PastEvent[]) =
        match Array.tryLast events with
        | Some(struct (_, _, Event.Completed _)) -> "done"
        | Some(struct (_, _, Event.Cancelled _)) -> "cancelled"
        | _ -> "unknown"

    /// <summary>Explains a task.</summary>
    /// <param name="task">The task.</param>
    /// <param name="events">The recorded events of the task, oldest first, from its submission on.</param>
    /// <param name="workerName">The name of the worker of a session.</param>
    /// <param name="location">The present location; None: the task is finished.</param>
    let make task (events: PastEvent[]) workerName (location: TaskLocation option) : Explanation =
        let told = events |> Seq.choose (sentence workerName) |> Seq.toList

        let state, now =
            match location with
            | Some location ->
                let state, sentence = present location
                state, [ sentence ]
            | None -> ended events, []

        {
            task = task
            name =
                events
                |> Seq.tryPick (fun (struct (_, _, event)) ->
                    match event with
                    | Event.Submitted(_, submission, _) -> Some submission.Name
                    | Event.Carried(Carried.Task carried) -> Some carried.submission.Name
                    | _ -> None)
                |> Option.defaultValue ""
            state = state
            sentences = told @ now
            events = events
        }

    /// <summary>Writes an explanation as a JSON object.</summary>
    /// <param name="json">A writer at the place of a value.</param>
    /// <param name="writeEvents">Writes the events, one value each.</param>
    /// <param name="explanation">The explanation.</param>
    let write
        (json: Utf8JsonWriter)
        (writeEvents: Utf8JsonWriter -> unit)
        (explanation: Explanation)
        =
        json.WriteStartObject()
        json.WriteNumber("task", int64 explanation.task)
        json.WriteString("name", explanation.name)
        json.WriteString("state", explanation.state)
        json.WriteStartArray "sentences"

        for sentence in explanation.sentences do
            json.WriteStringValue sentence

        json.WriteEndArray()
        json.WriteStartArray "events"
        writeEvents json
        json.WriteEndArray()
        json.WriteEndObject()
