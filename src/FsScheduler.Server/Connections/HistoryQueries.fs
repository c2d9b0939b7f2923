namespace FsScheduler.Server

open System.Buffers
open System.Text.Encodings.Web
open System.Text.Json
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Protocol

/// Answers EXPLAIN, EVENTS and other questions, from durable events and queries of the machine.
module HistoryQueries =

    let private options =
        JsonWriterOptions(
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
            SkipValidation = true
        )

    /// <summary>An explanation as a JSON object.</summary>
    /// <param name="workerName">The name of the worker of a session.</param>
    /// <param name="recorded">The events of the task.</param>
    /// <param name="explained">The explanation by the machine.</param>
    let explanation
        (workerName: SessionId -> string)
        (recorded: RecordedEvent[])
        (explained: Explanation)
        : byte[] =
        let output = ArrayBufferWriter<byte>()
        use writer = new Utf8JsonWriter(output, options)

        let writeEvents (json: Utf8JsonWriter) =
            Array.iter (EventPrint.write json workerName) recorded

        Explanation.write writer writeEvents explained
        writer.Flush()
        output.WrittenSpan.ToArray()

    /// Events as JSON lines.
    let lines (history: IHistory) (events: RecordedEvent[]) : byte[] =
        let output = ArrayBufferWriter<byte>()
        use writer = new Utf8JsonWriter(output, options)

        for event in events do
            EventPrint.write writer history.WorkerName event
            writer.Flush()
            writer.Reset()
            output.Write(System.ReadOnlySpan [| '\n'B |])

        output.WrittenSpan.ToArray()

    let private unknown (task: TaskId) =
        let message =
            $"task {task} is not known: it never was, or it was finished so long ago that it is forgotten"

        struct (FromScheduler.Error(ErrorCode.BadField, message), KeptContent.empty)

    let private explain (history: IHistory) (agent: SchedulerAgent) (id: TaskId) =
        task {
            match history.EventsOf id with
            | struct ([||], _) -> return unknown id
            | struct (events, recorded) ->
                let! role =
                    agent.QueryAsync(fun scheduler -> TaskLocation.ofTask id agent.Now scheduler)

                let explained = Explanation.make id events history.WorkerName role

                return
                    struct (FromScheduler.Explanation id,
                            Held(Bytes(explanation history.WorkerName recorded explained)))
        }

    let private listed (history: IHistory) after (found: RecordedEvent[]) =
        let last =
            match Array.tryLast found with
            | Some event -> event.number
            | None -> after

        struct (FromScheduler.Events last, Held(Bytes(lines history found)))

    let private events (history: IHistory) (query: EventQuery) =
        match query.task with
        | None -> history.EventsAfter(query.after, query.most) |> listed history query.after
        | Some task ->
            match history.EventsOf task with
            | struct (_, [||]) -> unknown task
            | struct (_, all) ->
                all
                |> Array.filter (fun event -> event.number > query.after)
                |> Array.truncate query.most
                |> listed history query.after

    /// <summary>The answer to a question, and its payload, which the connection must not discard.</summary>
    let answer
        (journal: IJournal)
        (history: IHistory)
        (agent: SchedulerAgent)
        (targetOf: ResultSource -> TaskName -> string)
        (question: ToScheduler)
        : Task<struct (FromScheduler * KeptContent)> =
        match question with
        | ToScheduler.Explain task -> explain history agent task
        | ToScheduler.Events query -> Task.Run(fun () -> events history query)
        | ToScheduler.List query -> Listings.tasks journal history agent query
        | ToScheduler.Stages -> Listings.stages agent
        | ToScheduler.Fetch task -> Task.Run(fun () -> FetchQueries.answer history targetOf task)
        | _ -> invalidOp "the message is no question"
