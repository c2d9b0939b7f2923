namespace FsScheduler.Scheduler

open System
open System.Collections.Generic
open System.Diagnostics
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Argu
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Cli

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
            | WaitArguments.Tasks _ -> "the numbers of tasks (default: all that there are)"
            | WaitArguments.Timeout _ ->
                "give up waiting after this time, with exit code 1 (default: never)"
            | WaitArguments.Connect _ -> Remote.connectUsage
            | WaitArguments.Token_File _ -> Remote.tokenFileUsage
            | WaitArguments.Json -> Remote.jsonUsage

/// `wait`: until tasks have ended: done, cancelled, or in quarantine. Exit code 1: one of them is not done.
module WaitVerb =

    let private leastPause = TimeSpan.FromMilliseconds 50.0
    let private mostPause = TimeSpan.FromSeconds 1.0

    /// Beyond `--timeout`, for the answer to what was asked before: so `--timeout 0ms` says how it is now.
    let private lastAnswer = TimeSpan.FromSeconds 1.0

    /// <summary>One more look, later each time: a second at the most.</summary>
    /// <param name="look">What is waited for, once it is there.</param>
    /// <param name="ct">Ends the waits between the looks.</param>
    let private until (look: unit -> Task<'ending option>) (ct: CancellationToken) : Task<'ending> =
        task {
            let mutable pause = leastPause
            let! first = look ()
            let mutable found = first

            while found.IsNone do
                do! Remote.pause pause ct
                pause <- min mostPause (pause * 1.5)
                let! again = look ()
                found <- again

            return found.Value
        }

    let private stateIn (arrival: IncomingMessage<FromScheduler>) =
        use document = JsonDocument.Parse(ReadOnlyMemory(Remote.bytesOf arrival))
        nonNull (document.RootElement.GetProperty("state").GetString())

    /// The state of a task: what LIST says of an unfinished one, and EXPLAIN of any other.
    let private stateOf (client: SchedulerClient) (id: TaskId) (ct: CancellationToken) =
        task {
            let query: TaskQuery = {
                after = id - 1L<taskId>
                most = 1
                phases = [||]
                name = None
                stage = None
            }

            match! Remote.ask client (ToScheduler.List query) ct with
            | Ok({ message = FromScheduler.List(last, _) } as arrival) when last = id ->
                return Some(stateIn arrival)
            | Ok _ -> return None
            | Error message -> return raise (Unreachable message)
        }

    let private explained (client: SchedulerClient) (id: TaskId) (ct: CancellationToken) =
        task {
            match! Remote.ask client (ToScheduler.Explain id) ct with
            | Ok arrival -> return Ok(stateIn arrival)
            | Error message -> return Error message
        }

    /// How a task has ended; None: it has not.
    let private endingOf client id ct =
        task {
            match! stateOf client id ct with
            | Some "quarantined" -> return Some(Ok "quarantined")
            | Some _ -> return None
            | None ->
                match! explained client id ct with
                | Ok("done" | "cancelled" as state) -> return Some(Ok state)
                | Ok _ -> return None // between the two questions
                | Error message -> return Some(Error message)
        }

    let private tellTask isJson (id: TaskId) (ending: Result<string, string>) =
        if isJson then
            let state, error: (string | null) * (string | null) =
                match ending with
                | Ok state -> state, null
                | Error message -> null, message

            printfn "%s" (Remote.json {| task = int64 id; state = state; error = error |})
        else
            match ending with
            | Ok state -> printfn $"task {id}: {state}"
            | Error message -> Remote.complain "wait" message

        ending = Ok "done"

    /// Goes on with what is left in the queue, also on a later connection.
    let private waitForTasks isJson client (left: Queue<TaskId>) (areDone: bool ref) limit ct =
        task {
            while left.Count > 0 do
                let id = left.Peek()
                let! ending = until (fun () -> endingOf client id ct) limit
                left.Dequeue() |> ignore
                areDone.Value <- tellTask isJson id ending && areDone.Value

            return if areDone.Value then ExitCode.ok else ExitCode.quarantined
        }

    let private waitForAll isJson client limit ct =
        task {
            let look () =
                task {
                    let! report = Remote.status client ct

                    let left =
                        report.queued
                        + report.running
                        + report.waiting
                        + report.publishing
                        + report.split

                    return if left = 0L then Some report else None
                }

            let! report = until look limit

            if isJson then
                let value = {|
                    ``done`` = report.finished
                    cancelled = report.cancelled
                    quarantined = report.quarantined
                |}

                printfn "%s" (Remote.json value)
            else
                let hint =
                    if report.quarantined = 0L then
                        ""
                    else
                        "; 'fs-scheduler tasks --state quarantined' lists those"

                printfn
                    $"{report.finished} done, {report.cancelled} cancelled, {report.quarantined} in quarantine{hint}"

            return
                if report.quarantined = 0L then
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
            |> Option.map (fun given -> Queue(List.map Remote.taskOf given))

        let areDone = ref true

        let began = Stopwatch.StartNew()

        // A limit holds for a scheduler that is away too.
        (if timeout.IsNone then Remote.follow "wait" else Remote.run)
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

                    let limit, ct' = limited.Token, answered.Token

                    try
                        match ids with
                        | Some left -> return! waitForTasks isJson client left areDone limit ct'
                        | None -> return! waitForAll isJson client limit ct'
                    with :? OperationCanceledException when not ct.IsCancellationRequested ->
                        Remote.complain
                            "wait"
                            $"not all had ended after {began.Elapsed.TotalSeconds:F1} s; 'fs-scheduler tasks' lists what is left"

                        return ExitCode.quarantined
                })
