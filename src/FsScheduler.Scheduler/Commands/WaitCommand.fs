namespace FsScheduler.Scheduler

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Argu
open FsScheduler.Core
open FsScheduler.Cli
open FsScheduler.Sdk

/// The command line of `fs-scheduler wait`.
[<RequireQualifiedAccess>]
type WaitArguments =
    | [<MainCommand>] Tasks of TASK: string list
    | [<Unique>] Timeout of DURATION: string
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | WaitArguments.Tasks _ -> "the numbers of tasks (default: all tasks)"
            | WaitArguments.Timeout _ ->
                "give up after this time, with exit code 1 (default: never)"
            | WaitArguments.Connect _ -> ClientCommand.connectUsage
            | WaitArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | WaitArguments.Json -> ClientCommand.jsonUsage

/// `wait`: until tasks have ended: done, cancelled, or in quarantine. Exit code 1: one of them is not done.
module WaitCommand =

    let private leastPause = TimeSpan.FromMilliseconds 50.0
    let private mostPause = TimeSpan.FromSeconds 1.0

    /// The time after `--timeout` for the answer to the last request: so `--timeout 0ms` tells the state of now.
    let private lastAnswer = TimeSpan.FromSeconds 1.0

    /// <summary>Asks until there is an answer, with pauses that grow from 50 ms to a second.</summary>
    /// <param name="ask">The answer, or None: not yet.</param>
    /// <param name="ct">Ends the pauses.</param>
    let private until (ask: unit -> Task<'answer option>) (ct: CancellationToken) : Task<'answer> =
        task {
            let mutable pause = leastPause
            let mutable found = None

            while found.IsNone do
                let! answer = ask ()
                found <- answer

                if answer.IsNone then
                    do! ClientCommand.pause pause ct
                    pause <- min mostPause (pause * 1.5)

            return found.Value
        }

    /// How a task has ended; None: it has not. LIST has unfinished tasks and those in quarantine, EXPLAIN also the others.
    let private endingOf (client: SchedulerClient) (id: int64) (ct: CancellationToken) =
        task {
            let! page = client.ListAsync(TaskQuery(After = id - 1L, Most = 1), ct)

            match page.Tasks |> Seq.tryFind (fun task -> task.TaskId = id) with
            | Some task when task.State = "quarantined" -> return Some(Ok task.State)
            | Some _ -> return None
            | None ->
                match! ClientCommand.tryAnswer (client.ExplainAsync(id, ct)) with
                | Ok explanation when explanation.State = "done" || explanation.State = "cancelled" ->
                    return Some(Ok explanation.State)
                | Ok _ -> return None // the task has changed between the two requests
                | Error message -> return Some(Error message)
        }

    let private printTask isJson (id: int64) (ending: Result<string, string>) =
        if isJson then
            let state, error: (string | null) * (string | null) =
                match ending with
                | Ok state -> state, null
                | Error message -> null, message

            ClientCommand.printJson {| task = id; state = state; error = error |}
        else
            match ending with
            | Ok state -> printfn $"task {id}: {state}"
            | Error message -> ClientCommand.printError "wait" message

        ending = Ok "done"

    let private waitForTasks isJson client (ids: int64 list) limit ct =
        task {
            let mutable areDone = true

            for id in ids do
                let! ending = until (fun () -> endingOf client id ct) limit
                areDone <- printTask isJson id ending && areDone

            return if areDone then ExitCode.ok else ExitCode.quarantined
        }

    let private waitForAll isJson (client: SchedulerClient) limit ct =
        task {
            let ask () =
                task {
                    let! report = client.GetStatusAsync ct
                    return if report.Unfinished = 0L then Some report else None
                }

            let! report = until ask limit

            if isJson then
                ClientCommand.printJson {|
                    ``done`` = report.Finished
                    cancelled = report.Cancelled
                    quarantined = report.Quarantined
                |}
            else
                let hint =
                    if report.Quarantined = 0L then
                        ""
                    else
                        "; 'fs-scheduler tasks --state quarantined' lists them"

                printfn
                    $"{report.Finished} done, {report.Cancelled} cancelled, {report.Quarantined} in quarantine{hint}"

            return
                if report.Quarantined = 0L then
                    ExitCode.ok
                else
                    ExitCode.quarantined
        }

    let run (arguments: ParseResults<WaitArguments>) : int =
        let isJson = arguments.Contains WaitArguments.Json

        let timeout =
            arguments.TryGetResult WaitArguments.Timeout
            |> Option.map (
                CommandLine.durationFrom 0L<ms> "--timeout"
                >> fun timeout -> TimeSpan.FromMilliseconds(float timeout)
            )

        let ids =
            arguments.TryGetResult WaitArguments.Tasks
            |> Option.map (List.map ClientCommand.taskIdOf)

        let began = Stopwatch.StartNew()

        // With a time limit, no scheduler is waited for that has gone.
        (if timeout.IsNone then
             ClientCommand.follow "wait"
         else
             ClientCommand.run)
            (arguments.TryGetResult WaitArguments.Connect)
            (arguments.TryGetResult WaitArguments.Token_File)
            (fun client ct ->
                task {
                    use limited = CancellationTokenSource.CreateLinkedTokenSource ct
                    use answered = CancellationTokenSource.CreateLinkedTokenSource ct

                    match timeout with
                    | Some timeout ->
                        limited.CancelAfter timeout
                        answered.CancelAfter(timeout + lastAnswer)
                    | None -> ()

                    let work =
                        match ids with
                        | Some ids -> waitForTasks isJson client ids
                        | None -> waitForAll isJson client

                    try
                        return! work limited.Token answered.Token
                    with :? OperationCanceledException when not ct.IsCancellationRequested ->
                        ClientCommand.printError
                            "wait"
                            $"not all tasks had ended after {began.Elapsed.TotalSeconds:F1} s; 'fs-scheduler tasks' lists the others"

                        return ExitCode.quarantined
                })
