namespace FsScheduler.Core

open System
open System.Text.Json

/// An event of the past: its number, when it was, and what it was.
type PastEvent = (struct (int64 * DateTimeOffset * Event))

/// Events as JSON objects, one for each: what EVENTS and EXPLAIN send.
module EventJson =

    let private trouble (json: Utf8JsonWriter) (trouble: Trouble) =
        json.WriteNumber("attempt", trouble.attempt)
        json.WriteString("cause", (string trouble.cause).ToLowerInvariant())
        json.WriteString("stages", trouble.stages)

        if trouble.worker <> "" then
            json.WriteString("worker", trouble.worker)

        json.WriteString("error", trouble.error)

    let private kind (event: Event) =
        match event with
        | Event.Submitted _ -> "submitted"
        | Event.Assigned _ -> "assigned"
        | Event.Advanced _ -> "advanced"
        | Event.Split _ -> "split"
        | Event.Part _ -> "part"
        | Event.Speculated _ -> "speculated"
        | Event.Delayed _ -> "delayed"
        | Event.Woken _ -> "woken"
        | Event.Requeued _ -> "requeued"
        | Event.Claimed _ -> "claimed"
        | Event.Quarantined _ -> "quarantined"
        | Event.Accepted _ -> "accepted"
        | Event.Completed _ -> "completed"
        | Event.Cancelled _ -> "cancelled"
        | Event.Retried _ -> "retried"
        | Event.Gone _ -> "gone"
        | Event.Joined _ -> "joined"
        | Event.Left _ -> "left"

    /// <summary>Writes one object.</summary>
    /// <param name="json">Where a value may stand.</param>
    /// <param name="workerName">What the worker of a session is called.</param>
    /// <param name="past">The event.</param>
    let write (json: Utf8JsonWriter) (workerName: SessionId -> string) (past: PastEvent) =
        let struct (number, at, event) = past
        let task (id: TaskId) = json.WriteNumber("task", int64 id)

        let attempt (attempt: Attempt) =
            task attempt.task
            json.WriteNumber("attempt", attempt.number)

        let worker (session: SessionId) =
            json.WriteNumber("session", int64 session)
            json.WriteString("worker", workerName session)

        json.WriteStartObject()
        json.WriteNumber("number", number)
        json.WriteString("time", at.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ss.fffZ")
        json.WriteString("event", kind event)

        match event with
        | Event.Submitted(id, submission, pipeline) ->
            task id
            json.WriteString("name", submission.Name)
            json.WriteString("pipeline", Pipeline.print pipeline)
            json.WriteNumber("priority", submission.Priority)

            match submission.Origin with
            | Piece(whole, index) ->
                json.WriteNumber("whole", int64 whole)
                json.WriteNumber("piece", index)
            | Folder
            | Client _ -> ()
        | Event.Assigned(of', session, struct (first, last)) ->
            attempt of'
            worker session
            json.WriteNumber("first", first)
            json.WriteNumber("last", last)
        | Event.Claimed(of', session) ->
            attempt of'
            worker session
        | Event.Advanced(of', stage, _) ->
            attempt of'
            json.WriteNumber("stage", stage)
        | Event.Split(of', last, others, cuts) ->
            attempt of'
            json.WriteNumber("last", last)

            match others with
            | ValueSome pipeline -> json.WriteString("pipeline", Pipeline.print pipeline)
            | ValueNone -> ()

            json.WriteNumber("pieces", cuts.Length)
        | Event.Part(whole, index, _) ->
            task whole
            json.WriteNumber("piece", index)
        | Event.Speculated(whole, index, slow) ->
            task whole
            json.WriteNumber("piece", index)
            json.WriteNumber("slow", int64 slow)
        | Event.Delayed(id, what, delay) ->
            task id
            trouble json what
            json.WriteNumber("delayMs", int64 delay)
        | Event.Requeued(id, what)
        | Event.Quarantined(id, what) ->
            task id
            trouble json what
        | Event.Woken id
        | Event.Retried id -> task id
        | Event.Accepted(of', _) -> attempt of'
        | Event.Completed(of', remainder) ->
            attempt of'

            match remainder with
            | StoredResult proof -> json.WriteNumber("bytes", int64 proof.size)
            | NothingLeft
            | KeptResult _ -> ()
        | Event.Cancelled(id, reason) ->
            task id
            json.WriteString("reason", reason)
        | Event.Gone name -> json.WriteString("name", name)
        | Event.Joined(session, name, stages) ->
            json.WriteNumber("session", int64 session)
            json.WriteString("worker", name)
            json.WriteString("stages", String.Join(',', stages))
        | Event.Left(session, name, reason) ->
            json.WriteNumber("session", int64 session)
            json.WriteString("worker", name)
            json.WriteString("reason", reason)

        json.WriteEndObject()
