namespace FsScheduler.Scheduler

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Text.Json
open Argu
open Spectre.Console
open FsScheduler.Core
open FsScheduler.Runtime

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
                "the moment, such as '2026-11-24 12:00:05' or '2026-11-24T12:00:05Z'; without a zone it is this machine's (default: the last event)"
            | ReplayArguments.Task _ -> "explain this task, as it stood then"
            | ReplayArguments.Json -> Remote.jsonUsage

/// `replay`: what a scheduler knew at a moment, from its journal alone. It may be running meanwhile.
module ReplayVerb =

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
                        $"--at: '{text}' is no time; write it like '2026-11-24 12:00:05' or '2026-11-24T12:00:05Z'"
                )

    let private settings: Settings =
        match FsScheduler.Core.Pipeline.parseRecorded "lower" with
        | Ok pipeline -> Settings.defaults pipeline
        | Error error -> invalidOp error.message

    let private dateOf (instant: Instant) =
        DateTimeOffset.FromUnixTimeMilliseconds(int64 instant.sinceStart)

    let private show (at: DateTimeOffset) (report: StatusReport) (tasks: (TaskView * string)[]) =
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
                    Markup.Escape(Logs.printable name),
                    view.state,
                    string view.attempt,
                    string view.failures
                )
                |> ignore

            (Columns.console ()).Write table

            if tasks.Length > tasksMax then
                printfn $"and {tasks.Length - tasksMax} more; --json has them all"

    let private asJson (at: DateTimeOffset) (report: StatusReport) (tasks: (TaskView * string)[]) =
        Remote.json {|
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

    let run (arguments: ParseResults<ReplayArguments>) : int =
        let folder = arguments.GetResult(ReplayArguments.State, ".fs-scheduler")
        let path = JournalFile.pathIn folder
        let until = momentOf arguments

        if not (File.Exists path) then
            Remote.complain "replay" $"there is no journal {path}; name its folder with --state"

            ExitCode.cannotStart
        else
            try
                use connection = JournalFile.openForReading path

                use reader =
                    new EventReader(nonNull connection.Handle, Path.Combine(folder, "spool"), false)

                let names = Dictionary<TaskId, string>()
                let mutable last = 0L

                let events =
                    reader.Read(EventFilter.until until, fun at -> { sinceStart = at * 1L<ms> })
                    |> Seq.map (fun struct (number, at, event) ->
                        last <- max last (int64 at.sinceStart)

                        match event with
                        | Event.Submitted(id, submission, _) -> names[id] <- submission.Name
                        | Event.Completed(attempt, _) -> names.Remove attempt.task |> ignore
                        | Event.Cancelled(id, _) -> names.Remove id |> ignore
                        | _ -> ()

                        struct (number, at, event))

                let scheduler = Scheduler settings
                scheduler.Restore(events, { sinceStart = until * 1L<ms> })
                let now = if until = Int64.MaxValue then last else until
                let at = dateOf { sinceStart = now * 1L<ms> }
                let isJson = arguments.Contains ReplayArguments.Json

                match arguments.TryGetResult ReplayArguments.Task with
                | None ->
                    let nameOf (view: TaskView) =
                        match names.TryGetValue view.id with
                        | true, name -> name
                        | _ -> ""

                    let tasks = TaskView.all scheduler |> Array.map (fun view -> view, nameOf view)

                    if isJson then
                        printfn "%s" (asJson at scheduler.Status tasks)
                    else
                        show at scheduler.Status tasks

                    ExitCode.ok
                | Some number ->
                    let id = Remote.taskOf (string number)
                    let workers = Dictionary<SessionId, string>()

                    for struct (session, name) in JournalFile.workerNames connection do
                        workers[session] <- name

                    let workerName session =
                        match workers.TryGetValue session with
                        | true, name -> name
                        | _ -> $"session {session}"

                    let of' =
                        JournalFile.dated reader (EventFilter.ofTask id) 10_000
                        |> Array.filter (fun (struct (_, date, _)) -> date <= at)

                    if of'.Length = 0 then
                        let time = at.ToString "yyyy-MM-dd HH:mm:ss zzz"
                        Remote.complain "replay" $"task {number} was not known at {time}"

                        ExitCode.quarantined
                    else
                        let standing = Whereabouts.ofTask id { sinceStart = now * 1L<ms> } scheduler

                        Explanation.make id of' workerName standing
                        |> Asking.explanation workerName
                        |> TaskVerbs.show isJson

                        ExitCode.ok
            with SqliteTrouble(_, message) ->
                Remote.complain
                    "replay"
                    $"{path}: {message}; 'fs-scheduler check --state {folder}' says more"

                ExitCode.cannotStart
