namespace FsScheduler.Server

open System
open System.Buffers
open System.Collections.Generic
open System.IO
open System.Text.Encodings.Web
open System.Text.Json
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Protocol
open FsScheduler.Folders

/// Answers LIST and STAGES from a query of the machine, a page of the journal, and the names that only the journal has.
module Listings =

    let private options =
        JsonWriterOptions(
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
            SkipValidation = true
        )

    /// One JSON line for each item.
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
        json.WriteString("state", PhaseName.print row.phase)
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
        submissionEvent = 0L
    }

    let private isFinished phase =
        phase = Phase.Done || phase = Phase.Cancelled

    let private nothing (query: TaskQuery) = { rows = [||]; last = query.after; more = false }

    let private unfinished (agent: SchedulerAgent) (query: TaskQuery) =
        if query.phases.Length > 0 && Array.forall isFinished query.phases then
            Task.FromResult(nothing query)
        else
            agent.QueryAsync(fun scheduler -> Listing.tasks query agent.Now scheduler)

    /// Task numbers examined for one page.
    let private windowMax = 10_000L

    /// A range of task numbers, and the unfinished tasks in it.
    let private windowOf (agent: SchedulerAgent) (query: TaskQuery) =
        agent.QueryAsync(fun scheduler ->
            let last =
                min (int64 scheduler.LastTask) (int64 query.after + windowMax) * 1L<taskId>

            struct (last,
                    last < scheduler.LastTask,
                    HashSet(Listing.unfinished query.after last scheduler)))

    let private finished (history: IHistory) (agent: SchedulerAgent) (query: TaskQuery) =
        task {
            // A finished task is at no stage.
            if query.stage.IsSome || not (Array.exists isFinished query.phases) then
                return nothing query
            else
                let! struct (last, more, unfinished) = windowOf agent query

                return!
                    Task.Run(fun () ->
                        let found = history.Finished(query.after, last, unfinished.Contains)

                        {
                            rows =
                                found
                                |> Array.map rowOf
                                |> Array.filter (fun row -> Array.contains row.phase query.phases)
                            last = last
                            more = more
                        })
        }

    /// Adds the name of a waiting submission, which may be in the journal alone.
    let private withName (journal: IJournal) (row: TaskRow) =
        if row.name <> "" then
            row
        else
            try
                { row with name = (journal.ReadSubmission row.submissionEvent).Name }
            with :? IOException ->
                row

    let private page (journal: IJournal) (query: TaskQuery) live ended =
        // Names are compared once all rows are there: a page may be left with few rows, or none.
        let whole = Listing.merge query.most live ended
        let named = whole.rows |> Array.map (withName journal)

        let rows =
            match query.name with
            | Some pattern -> named |> Array.filter (fun row -> Listing.fits pattern row.name)
            | None -> named

        struct (FromScheduler.List(whole.last, whole.more), Held(Bytes(lines writeTask rows)))

    /// Answers LIST.
    let tasks (journal: IJournal) (history: IHistory) (agent: SchedulerAgent) (query: TaskQuery) =
        task {
            let! live = unfinished agent query
            let! ended = finished history agent query
            return! Task.Run(fun () -> page journal query live ended)
        }

    /// Answers STAGES.
    let stages (agent: SchedulerAgent) =
        task {
            let! rows = agent.QueryAsync Listing.stages
            return struct (FromScheduler.Stages, Held(Bytes(lines writeStage rows)))
        }
