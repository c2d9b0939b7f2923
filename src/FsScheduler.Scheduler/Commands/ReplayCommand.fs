namespace FsScheduler.Scheduler

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Text.Json
open Argu
open Spectre.Console
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.Cli

/// The command line of `fs-scheduler replay`.
[<RequireQualifiedAccess>]
type ReplayArguments =
    | [<Unique>] State of FOLDER: string
    | [<Unique>] At of TIME: string
    | [<Unique>] Task of TASK: int64
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | ReplayArguments.State _ -> "the folder of the journal (default: .fs-scheduler)"
            | ReplayArguments.At _ ->
                "the moment: '2026-11-24 12:00:05' in the zone of this machine, or '2026-11-24T12:00:05Z' (default: the last event)"
            | ReplayArguments.Task _ -> "explain this task as it stood then"
            | ReplayArguments.Json -> ClientCommand.jsonUsage

/// `replay`: the state of a scheduler at a moment, from its journal alone. The scheduler may be running.
module ReplayCommand =

    /// Tasks in the table of a terminal.
    let private tasksMax = 50

    let private momentOf (arguments: ParseResults<ReplayArguments>) =
        match arguments.TryGetResult ReplayArguments.At with
        | None -> Int64.MaxValue
        | Some text ->
            match
                DateTimeOffset.TryParse(
                    text,
                    CultureInfo.InvariantCulture,
                    DateTimeStyles.AssumeLocal
                )
            with
            | true, at -> at.ToUnixTimeMilliseconds()
            | _ ->
                raise (
                    WrongArguments
                        $"--at: '{text}' is not a time; write one such as '2026-11-24 12:00:05' or '2026-11-24T12:00:05Z'"
                )

    let private settings: Settings =
        match FsScheduler.Core.Pipeline.parseRecorded "lower" with
        | Ok pipeline -> Settings.defaults pipeline
        | Error error -> invalidOp error.message

    let private dateOf (instant: Instant) =
        DateTimeOffset.FromUnixTimeMilliseconds(int64 instant.sinceStart)

    let private print (at: DateTimeOffset) (report: StatusReport) (tasks: (TaskView * string)[]) =
        printfn "at %s" (at.ToLocalTime().ToString "yyyy-MM-dd HH:mm:ss.fff zzz")

        printfn
            $"{report.queued} queued, {report.running} running, {report.split} worked on in pieces, {report.waiting} waiting for another try, {report.publishing} being published, {report.quarantined} in quarantine, {report.finished} done, {report.cancelled} cancelled"

        if tasks.Length > 0 && not (Terminal.isOutput ()) then
            for view, name in tasks do
                Columns.piped [
                    string view.id
                    name
                    view.state
                    string view.attempt
                    string view.failures
                ]
                |> Console.Out.WriteLine
        elif tasks.Length > 0 then
            let table =
                Table().RoundedBorder().AddColumns("task", "name", "state", "attempt", "failures")

            for view, name in Seq.truncate tasksMax tasks do
                table.AddRow(
                    string view.id,
                    Markup.Escape(Terminal.printable name),
                    view.state,
                    string view.attempt,
                    string view.failures
                )
                |> ignore

            (Columns.console ()).Write table

            if tasks.Length > tasksMax then
                printfn $"and {tasks.Length - tasksMax} more; --json prints all"

    let private printJson
        (at: DateTimeOffset)
        (report: StatusReport)
        (tasks: (TaskView * string)[])
        =
        ClientCommand.printJson {|
            time = at.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ss.fffZ"
            queued = report.queued
            running = report.running
            waiting = report.waiting
            publishing = report.publishing
            quarantined = report.quarantined
            finished = report.finished
            cancelled = report.cancelled
            tasks =
                tasks
                |> Array.map (fun (view, name) -> {|
                    task = int64 view.id
                    name = name
                    state = view.state
                    attempt = view.attempt
                    failures = view.failures
                |})
        |}

    /// The events up to a moment, and the names of tasks and workers.
    let private read (journal: IJournalStore) spool (until: int64) =
        let reader = EventReader(spool, false, fun at -> { sinceStart = at * 1L<ms> })
        let names = Dictionary<TaskId, string>()
        let workers = Dictionary<SessionId, string>()

        let observe event =
            match event with
            | Event.Submitted(id, submission, _) -> names[id] <- submission.Name
            | Event.Carried(Carried.Task task) -> names[task.task] <- task.submission.Name
            | Event.Completed(attempt, _) -> names.Remove attempt.task |> ignore
            | Event.Cancelled(id, _) -> names.Remove id |> ignore
            | Event.Joined(session, name, _)
            | Event.Carried(Carried.Worker(session, name, _)) -> workers[session] <- name
            | _ -> ()

        let events =
            journal.Read 0L
            |> Seq.takeWhile (fun batch -> batch.at <= until)
            |> Seq.collect (EventBatch.read reader (fun at -> { sinceStart = at * 1L<ms> }))
            |> Seq.map (fun (struct (_, _, event) as recorded) ->
                observe event
                recorded)

        events, names, workers

    let private printTasks isJson at (scheduler: Scheduler) (names: Dictionary<TaskId, string>) =
        let tasks =
            TaskView.all scheduler
            |> Array.map (fun view -> view, names.GetValueOrDefault(view.id, ""))

        if isJson then
            printJson at scheduler.Status tasks
        else
            print at scheduler.Status tasks

        ExitCode.ok

    let private printTask
        isJson
        (journal: IJournalStore)
        spool
        number
        (at: DateTimeOffset)
        now
        scheduler
        workers
        =
        let id = ClientCommand.taskIdOf (string number) * 1L<taskId>

        let workerName session =
            match (workers: Dictionary<SessionId, string>).TryGetValue session with
            | true, name -> name
            | _ -> $"session {session}"

        let struct (past, recorded) = JournalHistory.ofTask journal spool 0L id
        let past = past |> Array.filter (fun (struct (_, date, _)) -> date <= at)
        let recorded = recorded |> Array.filter (fun event -> event.at <= at)

        if past.Length = 0 then
            let time = at.ToString "yyyy-MM-dd HH:mm:ss zzz"
            ClientCommand.printError "replay" $"task {number} was not known at {time}"
            ExitCode.quarantined
        else
            let standing = TaskLocation.ofTask id { sinceStart = now * 1L<ms> } scheduler

            Explanation.make id past workerName standing
            |> HistoryQueries.explanation workerName recorded
            |> ReadOnlyMemory
            |> TaskCommands.show isJson

            ExitCode.ok

    let run (arguments: ParseResults<ReplayArguments>) : int =
        let folder = arguments.GetResult(ReplayArguments.State, ".fs-scheduler")
        let spool = Path.Combine(folder, "spool")
        let until = momentOf arguments
        let path = FolderArguments.journalIn folder

        try
            use journal = SqliteJournal.openToRead path
            let events, names, workers = read journal spool until
            let scheduler = Scheduler settings
            let mutable last = 0L

            scheduler.Restore(
                events
                |> Seq.map (fun (struct (_, at, _) as recorded) ->
                    last <- max last (int64 at.sinceStart)
                    recorded),
                { sinceStart = until * 1L<ms> }
            )

            let now = if until = Int64.MaxValue then last else until
            let at = dateOf { sinceStart = now * 1L<ms> }
            let isJson = arguments.Contains ReplayArguments.Json

            match arguments.TryGetResult ReplayArguments.Task with
            | None -> printTasks isJson at scheduler names
            | Some number -> printTask isJson journal spool number at now scheduler workers
        with JournalRefused message ->
            raise (JournalRefused $"{message}; 'fs-scheduler check --state {folder}' says more")
