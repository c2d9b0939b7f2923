namespace FsScheduler.Scheduler

open System
open System.Globalization
open System.Threading
open System.Threading.Tasks
open Argu
open Spectre.Console
open FsScheduler.Platform
open FsScheduler.Cli
open FsScheduler.Sdk

/// The command lines of `fs-scheduler status` and `fs-scheduler watch`.
[<RequireQualifiedAccess>]
type StatusArguments =
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | StatusArguments.Connect _ -> ClientCommand.connectUsage
            | StatusArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | StatusArguments.Json -> ClientCommand.jsonUsage

/// `status` and `watch`: how many tasks are in which state, and the workers.
module StatusCommand =

    let private span (duration: TimeSpan) = duration.ToString @"d\.hh\:mm\:ss"

    let private counts (report: SchedulerStatus) = [
        "queued", string report.Queued
        "running", string report.Running
        "waiting for another try", string report.Waiting
        "worked on in pieces", string report.Split
        "being published", string report.Publishing
        "in quarantine", string report.Quarantined
        "done", string report.Finished
        "cancelled", string report.Cancelled
        "done in the last 10 s, a second",
        (float report.FinishedLast10Seconds / 10.0).ToString("F1", CultureInfo.InvariantCulture)
        "done in the last minute", string report.FinishedLastMinute
        "oldest in the queue", span report.OldestQueued
        "up for", span report.Uptime
    ]

    /// What to do about tasks in quarantine.
    let private quarantineHint =
        "'fs-scheduler tasks --state quarantined' lists them and says why"

    /// Lines for a pipe: a name, a TAB and a value; for each worker, `worker` and the columns of the table.
    let private lines (report: SchedulerStatus) : string list = [
        for name, value in counts report do
            if name = "in quarantine" && report.Quarantined > 0L then
                Columns.piped [ name; value; quarantineHint ]
            else
                Columns.piped [ name; value ]

        match report.Trouble with
        | null -> ()
        | failure -> Columns.piped [ "trouble"; failure ]

        match report.AwaitedFile with
        | null -> ()
        | awaited -> Columns.piped [ "waits for"; awaited ]

        for stage in report.MissingStages do
            Columns.piped [ "no worker offers"; stage ]

        for worker in report.HeldBack do
            Columns.piped [ "held back"; worker ]

        for worker in report.Workers do
            Columns.piped [
                "worker"
                string worker.Session
                worker.Name
                string worker.Slots
                string worker.Held
                string worker.Finished
                string worker.Failed
            ]
    ]

    let private note (colour: string) (text: string) =
        Markup($"[{colour}]{Markup.Escape(Terminal.printable text)}[/]") :> Rendering.IRenderable

    /// What a person should know or do, above the table.
    let private notes (report: SchedulerStatus) : Rendering.IRenderable list = [
        match report.Trouble with
        | null -> ()
        | failure -> note "red" failure

        match report.AwaitedFile with
        | null -> ()
        | awaited -> note "yellow" awaited

        if report.MissingStages.Count > 0 then
            let names = String.Join(", ", report.MissingStages)
            note "yellow" $"tasks wait for stages that no worker offers: {names}"

        for worker in report.HeldBack do
            note "yellow" $"held back, since it only fails: {worker}"
    ]

    let private tables (report: SchedulerStatus) : Rendering.IRenderable list = [
        let table =
            Table().RoundedBorder().AddColumn("tasks").AddColumn(TableColumn("").RightAligned())

        for name, value in counts report do
            table.AddRow(name, value) |> ignore

        yield! notes report
        table

        if report.Quarantined > 0L then
            note "default" $"in quarantine: {quarantineHint}"

        let workers =
            Table()
                .RoundedBorder()
                .AddColumns("session", "worker", "slots", "held", "done", "failed")

        for worker in report.Workers do
            workers.AddRow(
                string worker.Session,
                Markup.Escape(Terminal.printable worker.Name),
                string worker.Slots,
                string worker.Held,
                string worker.Finished,
                string worker.Failed
            )
            |> ignore

        workers
    ]

    let private line (report: SchedulerStatus) =
        let heldBack =
            if report.HeldBack.Count = 0 then
                ""
            else
                $", {report.HeldBack.Count} held back"

        $"{report.Finished} done, {report.Queued} queued, {report.Running} running, {report.Waiting} waiting, {report.Quarantined} in quarantine, {float report.FinishedLast10Seconds / 10.0:F1} a second, {report.IdleWorkers} idle and {report.BusyWorkers} busy workers{heldBack}"

    let private connection (arguments: ParseResults<StatusArguments>) =
        arguments.TryGetResult StatusArguments.Connect,
        arguments.TryGetResult StatusArguments.Token_File

    let run (arguments: ParseResults<StatusArguments>) : int =
        let address, tokenFile = connection arguments

        ClientCommand.run address tokenFile (fun client ct ->
            task {
                let! report = client.GetStatusAsync ct

                if arguments.Contains StatusArguments.Json then
                    Console.Out.WriteLine(report.ToJson())
                elif Terminal.isOutput () then
                    (Columns.console ()).Write(Rows(tables report))
                else
                    for line in lines report do
                        Console.Out.WriteLine line

                return ExitCode.ok
            })

    let private every = TimeSpan.FromSeconds 1.0

    let private showEachSecond (show: SchedulerStatus -> unit) (client: SchedulerClient) ct =
        task {
            while true do
                let! report = client.GetStatusAsync ct
                show report
                do! ClientCommand.pause every ct

            return ExitCode.ok
        }

    /// The picture of `watch` in a terminal: the last status, and why there is no newer one. Both are drawn here alone:
    /// the picture is drawn over what others write.
    [<Sealed>]
    type private Picture() =
        let mutable live: LiveDisplayContext | null = null
        let mutable away: Rendering.IRenderable list = []
        let mutable status: Rendering.IRenderable list = []

        let draw () =
            match live with
            | null -> ()
            | live -> live.UpdateTarget(Rows(away @ status))

        member picture.Show(report: SchedulerStatus) =
            lock picture (fun () ->
                status <- tables report
                draw ())

        member picture.ShowAway(message: string option) =
            lock picture (fun () ->
                away <- message |> Option.map (note "red") |> Option.toList
                draw ())

        member picture.Run(work: unit -> Task<int>) : Task<int> =
            (Columns.console ())
                .Live(Text "")
                .StartAsync(fun context ->
                    task {
                        lock picture (fun () -> live <- context)

                        try
                            return! work ()
                        finally
                            lock picture (fun () -> live <- null)
                    })

    /// A picture that changes, in a terminal; elsewhere a line a second.
    let watch (arguments: ParseResults<StatusArguments>) : int =
        let address, tokenFile = connection arguments
        let isJson = arguments.Contains StatusArguments.Json

        if isJson || not (Terminal.isOutput ()) then
            let show (report: SchedulerStatus) =
                printfn "%s" (if isJson then report.ToJson() else line report)

            ClientCommand.follow "watch" address tokenFile (showEachSecond show)
        else
            let picture = Picture()

            let onAway (message: string option) =
                picture.ShowAway message

                if Console.IsErrorRedirected then
                    Option.iter (ClientCommand.printError "watch") message

            ClientCommand.followWith onAway address tokenFile (fun client ct ->
                picture.Run(fun () -> showEachSecond picture.Show client ct))
