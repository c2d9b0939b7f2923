namespace FsScheduler.Runtime

open System
open System.Buffers
open System.IO
open System.Text.Encodings.Web
open System.Text.Json
open System.Threading.Tasks
open FsScheduler.Core

/// Answers to LIST and STAGES: a page from a look at the machine, one from the journal, and the names that only the
/// journal has.
module Listings =

    /// Finished tasks that are read for one page.
    let private readMax = 10_000

    let private options =
        JsonWriterOptions(
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
            SkipValidation = true
        )

    /// JSON lines, one for each item.
    let private lines (write: Utf8JsonWriter -> 'item -> unit) (items: 'item seq) : byte[] =
        let output = ArrayBufferWriter<byte>()
        use writer = new Utf8JsonWriter(output, options)

        for item in items do
            writer.WriteStartObject()
            write writer item
            writer.WriteEndObject()
            writer.Flush()
            writer.Reset()
            output.Write(ReadOnlySpan [| '\n'B |])

        output.WrittenSpan.ToArray()

    let private writeTask (json: Utf8JsonWriter) (row: TaskRow) =
        let optional (name: string) (value: string) =
            if value <> "" then
                json.WriteString(name, value)

        json.WriteNumber("task", int64 row.task)
        json.WriteString("name", row.name)
        json.WriteString("state", Listing.phaseName row.phase)
        json.WriteString("pipeline", row.pipeline)
        optional "stage" row.stage
        json.WriteNumber("attempt", row.attempt)
        optional "worker" row.worker
        optional "error" row.error

        match row.whole with
        | Some whole -> json.WriteNumber("whole", int64 whole)
        | None -> ()

        json.WriteNumber("sinceMs", int64 row.since)

    let private writeStage (json: Utf8JsonWriter) (row: StageRow) =
        json.WriteString("stage", row.stage)
        json.WriteNumber("workers", row.workers)
        json.WriteNumber("slots", row.slots)
        json.WriteNumber("queued", row.queued)

    let private rowOf (finished: FinishedTask) : TaskRow = {
        task = finished.task
        name = finished.name
        phase = if finished.isDone then Phase.Done else Phase.Cancelled
        pipeline = finished.pipeline
        stage = ""
        demand = ""
        attempt = finished.attempt
        worker = ""
        error = finished.reason
        whole = None
        since = max 0L (int64 (DateTimeOffset.UtcNow - finished.at).TotalMilliseconds) * 1L<ms>
    }

    let private isFinished phase =
        phase = Phase.Done || phase = Phase.Cancelled

    let private nothing (query: TaskQuery) = { rows = [||]; last = query.after; more = false }

    let private unfinished (agent: SchedulerAgent) (query: TaskQuery) =
        if query.phases.Length > 0 && Array.forall isFinished query.phases then
            Task.FromResult(nothing query)
        else
            agent.LookAsync(fun scheduler -> Listing.tasks query agent.Now scheduler)

    let private finished (history: IHistory) (query: TaskQuery) =
        // A finished task is at no stage.
        if query.stage.IsSome || not (Array.exists isFinished query.phases) then
            nothing query
        else
            let found = history.FinishedAfter(query.after, readMax)

            {
                rows =
                    found
                    |> Array.map rowOf
                    |> Array.filter (fun row -> Array.contains row.phase query.phases)
                last =
                    (match Array.tryLast found with
                     | Some row -> row.task
                     | None -> query.after)
                more = found.Length = readMax
            }

    /// Of a submission that waits, the journal alone may have the name.
    let private withName (journal: IJournal) (row: TaskRow) =
        if row.name <> "" then
            row
        else
            try
                { row with name = (journal.ReadSubmission row.task).Name }
            with :? IOException ->
                row

    let private page (journal: IJournal) (history: IHistory) (query: TaskQuery) live =
        let ended = finished history query
        // Names are looked at once all are there: a page may be left with few rows, or none.
        let whole = Listing.merge query.most live ended
        let named = whole.rows |> Array.map (withName journal)

        let rows =
            match query.name with
            | Some pattern -> named |> Array.filter (fun row -> Listing.fits pattern row.name)
            | None -> named

        struct (FromScheduler.List(whole.last, whole.more), Bytes(lines writeTask rows))

    /// Answers LIST.
    let tasks (journal: IJournal) (history: IHistory) (agent: SchedulerAgent) (query: TaskQuery) =
        task {
            let! live = unfinished agent query
            return! Task.Run(fun () -> page journal history query live)
        }

    /// Answers STAGES.
    let stages (agent: SchedulerAgent) =
        task {
            let! rows = agent.LookAsync Listing.stages
            return struct (FromScheduler.Stages, Bytes(lines writeStage rows))
        }
