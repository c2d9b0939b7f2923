namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.Text
open FsScheduler.Core
open FsScheduler.Machine

/// Queries on the history, answered by reading the journal.
module JournalHistory =

    let private eventsMax = 10_000

    let private toInstant (at: int64) : Instant = { sinceStart = at * 1L<ms> }

    /// A copy, since the bytes of a batch are reused for the next one.
    let private copyOf (json: ReadOnlyMemory<byte>) = ReadOnlyMemory(json.ToArray())

    let private dateOf (at: int64) =
        DateTimeOffset.FromUnixTimeMilliseconds at

    /// Whether the JSON of a batch may name a task.
    let private mentions (needle: byte[]) (batch: Batch) =
        batch.events.Span.IndexOf(ReadOnlySpan needle) >= 0

    let private ends event =
        match event with
        | Event.Completed _
        | Event.Cancelled _ -> true
        | _ -> false

    /// <summary>The events of a task, oldest first.</summary>
    /// <param name="store">The journal.</param>
    /// <param name="spool">The folder of payload files.</param>
    /// <param name="start">No event of the task comes before this one.</param>
    /// <param name="task">The task.</param>
    let ofTask
        (store: IJournalStore)
        spool
        (start: int64)
        (task: TaskId)
        : struct (PastEvent[] * RecordedEvent[]) =
        let reader = EventReader(spool, false, toInstant)
        let needle = Encoding.UTF8.GetBytes $"\"task\":{task}"
        let past = List<PastEvent>()
        let recorded = List<RecordedEvent>()
        let mutable isEnded = false
        use batches = (store.Read start).GetEnumerator()

        while not isEnded && past.Count < eventsMax && batches.MoveNext() do
            let batch = batches.Current

            if mentions needle batch then
                let offsets = EventBatch.offsets batch

                for struct (number, _, event) in EventBatch.read reader toInstant batch do
                    if EventTask.find event = ValueSome task then
                        let position = int (number - batch.first)
                        past.Add(struct (number, dateOf batch.at, event))

                        recorded.Add {
                            number = number
                            at = dateOf batch.at
                            json = copyOf (EventBatch.json batch offsets position)
                        }

                        isEnded <- isEnded || ends event

        struct (past.ToArray(), recorded.ToArray())

    /// The events after one, this many at the most.
    let after (store: IJournalStore) (number: int64) (most: int) : RecordedEvent[] =
        store.Read(number + 1L)
        |> Seq.filter (Batch.isLost >> not)
        |> Seq.collect (fun batch ->
            let offsets = EventBatch.offsets batch
            let first = int (max 0L (number + 1L - batch.first))

            seq {
                for position in first .. batch.count - 1 do
                    {
                        number = batch.first + int64 position
                        at = dateOf batch.at
                        json = copyOf (EventBatch.json batch offsets position)
                    }
            })
        |> Seq.truncate most
        |> Seq.toArray

    type private Ending = { attempt: int; isDone: bool; reason: string; ended: DateTimeOffset }

    /// <summary>Finished tasks between two numbers, in order, without pieces and forgotten tasks.</summary>
    /// <param name="store">The journal.</param>
    /// <param name="spool">The folder of payload files.</param>
    /// <param name="start">No event of these tasks comes before this one.</param>
    /// <param name="carriedUpTo">Of tasks up to this one the journal has at most carried events.</param>
    /// <param name="after">Only tasks of higher numbers than this.</param>
    /// <param name="upTo">Only tasks of numbers up to this.</param>
    /// <param name="isUnfinished">Whether a task is unfinished, and so skipped.</param>
    let finished
        (store: IJournalStore)
        spool
        (start: int64)
        (carriedUpTo: TaskId)
        (after: TaskId)
        (upTo: TaskId)
        (isUnfinished: TaskId -> bool)
        : FinishedTask[] =
        let reader = EventReader(spool, false, toInstant)
        let named = Dictionary<TaskId, struct (string * string)>()
        let endings = SortedDictionary<TaskId, Ending>()

        let isWanted id =
            id > after && id <= upTo && not (isUnfinished id)

        // The tasks whose ends are not found yet; dropped ones are not among them.
        let mutable missing = 0

        for id in int64 (max after carriedUpTo) + 1L .. int64 upTo do
            if not (isUnfinished (id * 1L<taskId>)) then
                missing <- missing + 1

        let mutable isAll = missing = 0 && after >= carriedUpTo

        let name id (submission: Submission) pipeline =
            if isWanted id && not submission.Origin.IsPiece then
                named[id] <- struct (submission.Name, Pipeline.print pipeline)

        let finish id ending =
            if isWanted id && endings.TryAdd(id, ending) && id > carriedUpTo then
                missing <- missing - 1

        use batches = (store.Read start).GetEnumerator()

        while not isAll && batches.MoveNext() do
            let batch = batches.Current
            let at = dateOf batch.at

            for struct (_, _, event) in EventBatch.read reader toInstant batch do
                match event with
                | Event.Submitted(id, submission, pipeline) -> name id submission pipeline
                | Event.Carried(Carried.Task carried) ->
                    name carried.task carried.submission carried.pipeline
                | Event.Completed(attempt, _) ->
                    finish attempt.task {
                        attempt = attempt.number
                        isDone = true
                        reason = ""
                        ended = at
                    }
                | Event.Cancelled(id, reason) ->
                    finish id { attempt = 0; isDone = false; reason = reason; ended = at }
                | _ -> ()

            isAll <- missing = 0 && after >= carriedUpTo

        [|
            for KeyValue(id, ending) in endings do
                match named.TryGetValue id with
                | true, struct (name, pipeline) -> {
                    task = id
                    name = name
                    pipeline = pipeline
                    attempt = ending.attempt
                    isDone = ending.isDone
                    reason = ending.reason
                    at = ending.ended
                  }
                | _ -> ()
        |]
