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

/// `status` and `watch`: what a scheduler is doing.
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

    /// For a pipe: a name, a TAB and a value; of a worker, `worker` and what the table has.
    let private lines (report: SchedulerStatus) : string list = [
        for name, value in counts report do
            if name = "in quarantine" && report.Quarantined > 0L then
                Columns.piped [ name; value; quarantineHint ]
            else
                Columns.piped [ name; value ]

        match report.Trouble with
        | null -> ()
        | trouble -> Columns.piped [ "trouble"; trouble ]

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

    let private tables (report: SchedulerStatus) : Rendering.IRenderable =
        let table =
            Table().RoundedBorder().AddColumn("tasks").AddColumn(TableColumn("").RightAligned())

        for name, value in counts report do
            table.AddRow(name, value) |> ignore

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

        let trouble =
            match report.Trouble with
            | null -> []
            | trouble -> [
                Markup("[red]" + Markup.Escape(Terminal.printable trouble) + "[/]")
                :> Rendering.IRenderable
              ]

        let awaited =
            match report.AwaitedFile with
            | null -> []
            | awaited -> [
                Markup("[yellow]" + Markup.Escape(Terminal.printable awaited) + "[/]")
                :> Rendering.IRenderable
              ]

        let missing =
            if report.MissingStages.Count = 0 then
                []
            else
                let names = String.Join(", ", report.MissingStages |> Seq.map Terminal.printable)

                [
                    Markup(
                        $"[yellow]tasks wait for stages that no worker offers: {Markup.Escape names}[/]"
                    )
                    :> Rendering.IRenderable
                ]

        let heldBack = [
            for worker in report.HeldBack do
                Markup(
                    $"[yellow]held back, since it only fails: {Markup.Escape(Terminal.printable worker)}[/]"
                )
                :> Rendering.IRenderable
        ]

        let quarantine =
            if report.Quarantined = 0L then
                []
            else
                [
                    Markup(Markup.Escape $"in quarantine: {quarantineHint}")
                    :> Rendering.IRenderable
                ]

        Rows(trouble @ awaited @ missing @ heldBack @ [ table ] @ quarantine @ [ workers ])

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
                    (Columns.console ()).Write(tables report)
                else
                    for line in lines report do
                        Console.Out.WriteLine line

                return ExitCode.ok
            })

    let private every = TimeSpan.FromSeconds 1.0

    /// A picture that changes, in a terminal; a line a second, elsewhere.
    let watch (arguments: ParseResults<StatusArguments>) : int =
        let address, tokenFile = connection arguments
        let isJson = arguments.Contains StatusArguments.Json

        let again
            (client: SchedulerClient)
            (ct: CancellationToken)
            (show: SchedulerStatus -> unit)
            =
            task {
                while true do
                    let! report = client.GetStatusAsync ct
                    show report
                    do! ClientCommand.pause every ct
            }

        ClientCommand.follow "watch" address tokenFile (fun client ct ->
            task {
                if isJson || not (Terminal.isOutput ()) then
                    do!
                        again client ct (fun report ->
                            printfn "%s" (if isJson then report.ToJson() else line report))
                else
                    do!
                        (Columns.console ())
                            .Live(Text "")
                            .StartAsync(fun live ->
                                again client ct (fun report -> live.UpdateTarget(tables report)))

                return ExitCode.ok
            })
