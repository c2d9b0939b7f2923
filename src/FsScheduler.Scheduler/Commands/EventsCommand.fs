namespace FsScheduler.Scheduler

open System
open System.Threading
open Argu
open FsScheduler.Core
open FsScheduler.Cli
open FsScheduler.Sdk

/// The command line of `events`.
[<RequireQualifiedAccess>]
type EventsArguments =
    | [<Unique>] Follow
    | [<Unique>] Task of TASK: int64
    | [<Unique>] After of NUMBER: int64
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | EventsArguments.Follow -> "go on with new events until Ctrl+C"
            | EventsArguments.Task _ -> "only events of this task"
            | EventsArguments.After _ -> "only events with a higher number"
            | EventsArguments.Connect _ -> ClientCommand.connectUsage
            | EventsArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | EventsArguments.Json -> "changes nothing: events are JSON lines in any case"

/// `events`: the events of the journal as JSON lines, those of now or also those to come.
module EventsCommand =

    let private pollEvery = TimeSpan.FromMilliseconds 300.0

    /// The number to go on after when the scheduler is back. Another journal counts from 1 again: events with higher
    /// numbers than before might never come.
    let private resumeFrom (client: SchedulerClient) (after: int64) (ct: CancellationToken) =
        task {
            let query = EventQuery(After = after - 1L, Most = 1)

            match! ClientCommand.tryAnswer (client.GetEventsAsync(query, ct)) with
            | Ok page when page.Last < after ->
                ClientCommand.printError
                    "events"
                    $"the scheduler has another journal, without event {after}: going on from its first event on"

                return 0L
            | Ok _
            | Error _ -> return after
        }

    let run (arguments: ParseResults<EventsArguments>) : int =
        let taskId =
            arguments.TryGetResult EventsArguments.Task
            |> Option.map (fun id -> ClientCommand.taskIdOf (string id))
            |> Option.toNullable

        let first = arguments.GetResult(EventsArguments.After, 0L)

        if first < 0L || first > ProtocolLimits.integerMax then
            raise (WrongArguments $"--after: {first} is not the number of an event, or 0")

        let isFollowing = arguments.Contains EventsArguments.Follow

        (if isFollowing then
             ClientCommand.follow "events"
         else
             ClientCommand.run)
            (arguments.TryGetResult EventsArguments.Connect)
            (arguments.TryGetResult EventsArguments.Token_File)
            (fun client ct ->
                task {
                    let output = StandardStreams.bytes ()
                    let mutable after = first
                    let mutable connection = client.ConnectionCount
                    let mutable code = ExitCode.ok
                    let mutable goOn = true

                    while goOn do
                        if client.ConnectionCount > connection && after > 0L then
                            connection <- client.ConnectionCount
                            let! resumed = resumeFrom client after ct
                            after <- resumed

                        let query = EventQuery(TaskId = taskId, After = after)

                        match! ClientCommand.tryAnswer (client.GetEventsAsync(query, ct)) with
                        | Ok page ->
                            output.Write page.Lines.Span

                            if page.Last > after then after <- page.Last
                            elif isFollowing then do! ClientCommand.pause pollEvery ct
                            else goOn <- false
                        | Error message ->
                            ClientCommand.printError "events" message
                            code <- ExitCode.quarantined
                            goOn <- false

                    return code
                })
