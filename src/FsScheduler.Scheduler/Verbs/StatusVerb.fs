namespace FsScheduler.Scheduler

open System
open System.Buffers
open System.Globalization
open System.Text
open System.Threading
open System.Threading.Tasks
open Argu
open Spectre.Console
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Cli

/// The command lines of `fs-scheduler status` and `fs-scheduler watch`.
[<RequireQualifiedAccess>]
type StatusArguments =
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | StatusArguments.Connect _ -> Remote.connectUsage
            | StatusArguments.Token_File _ -> Remote.tokenFileUsage
            | StatusArguments.Json -> Remote.jsonUsage

/// `status` and `watch`: what a scheduler is doing.
module StatusVerb =

    /// As it came over the wire.
    let private asJson (report: StatusReport) =
        let output = ArrayBufferWriter<byte>()
        Codec.encodeFromScheduler output (FromScheduler.Status report) 0L<B>
        Encoding.UTF8.GetString(output.WrittenSpan).TrimEnd()

    let private span (duration: Duration) =
        (TimeSpan.FromMilliseconds(float (int64 duration))).ToString @"d\.hh\:mm\:ss"

    let private counts (report: StatusReport) = [
        "queued", string report.queued
        "running", string report.running
        "waiting for another try", string report.waiting
        "worked on in pieces", string report.split
        "being published", string report.publishing
        "in quarantine", string report.quarantined
        "done", string report.finished
        "cancelled", string report.cancelled
        "done in the last 10 s, a second",
        (float report.finished10s / 10.0).ToString("F1", CultureInfo.InvariantCulture)
        "done in the last minute", string report.finished60s
        "oldest in the queue", span report.oldest
        "up for", span report.uptime
    ]

    /// What to do about tasks in quarantine.
    let private quarantineHint =
        "'fs-scheduler tasks --state quarantined' lists them and says why"

    /// For a pipe: a name, a TAB and a value; of a worker, `worker` and what the table has.
    let private lines (report: StatusReport) : string list = [
        for name, value in counts report do
            if name = "in quarantine" && report.quarantined > 0L then
                Columns.piped [ name; value; quarantineHint ]
            else
                Columns.piped [ name; value ]

        match report.trouble with
        | Some trouble -> Columns.piped [ "trouble"; trouble ]
        | None -> ()

        match report.awaited with
        | Some awaited -> Columns.piped [ "waits for"; awaited ]
        | None -> ()

        for stage in report.missing do
            Columns.piped [ "no worker offers"; stage ]

        for worker in report.heldBack do
            Columns.piped [ "held back"; worker ]

        for worker in report.workers do
            Columns.piped [
                "worker"
                string worker.session
                worker.name
                string worker.slots
                string worker.held
                string worker.finished
                string worker.failed
            ]
    ]

    let private tables (report: StatusReport) : Rendering.IRenderable =
        let table =
            Table().RoundedBorder().AddColumn("tasks").AddColumn(TableColumn("").RightAligned())

        for name, value in counts report do
            table.AddRow(name, value) |> ignore

        let workers =
            Table()
                .RoundedBorder()
                .AddColumns("session", "worker", "slots", "held", "done", "failed")

        for worker in report.workers do
            workers.AddRow(
                string worker.session,
                Markup.Escape(Terminal.printable worker.name),
                string worker.slots,
                string worker.held,
                string worker.finished,
                string worker.failed
            )
            |> ignore

        let trouble =
            match report.trouble with
            | Some trouble -> [
                Markup("[red]" + Markup.Escape(Terminal.printable trouble) + "[/]")
                :> Rendering.IRenderable
              ]
            | None -> []

        let awaited =
            match report.awaited with
            | Some awaited -> [
                Markup("[yellow]" + Markup.Escape(Terminal.printable awaited) + "[/]")
                :> Rendering.IRenderable
              ]
            | None -> []

        let missing =
            if report.missing.Length = 0 then
                []
            else
                let names = String.Join(", ", report.missing |> Array.map Terminal.printable)

                [
                    Markup(
                        $"[yellow]tasks wait for stages that no worker offers: {Markup.Escape names}[/]"
                    )
                    :> Rendering.IRenderable
                ]

        let heldBack = [
            for worker in report.heldBack do
                Markup(
                    $"[yellow]held back, since it only fails: {Markup.Escape(Terminal.printable worker)}[/]"
                )
                :> Rendering.IRenderable
        ]

        let quarantine =
            if report.quarantined = 0L then
                []
            else
                [
                    Markup(Markup.Escape $"in quarantine: {quarantineHint}")
                    :> Rendering.IRenderable
                ]

        Rows(trouble @ awaited @ missing @ heldBack @ [ table ] @ quarantine @ [ workers ])

    let private line (report: StatusReport) =
        let heldBack =
            if report.heldBack.Length = 0 then
                ""
            else
                $", {report.heldBack.Length} held back"

        $"{report.finished} done, {report.queued} queued, {report.running} running, {report.waiting} waiting, {report.quarantined} in quarantine, {float report.finished10s / 10.0:F1} a second, {report.idle} idle and {report.busy} busy workers{heldBack}"

    let private connection (arguments: ParseResults<StatusArguments>) =
        arguments.TryGetResult StatusArguments.Connect,
        arguments.TryGetResult StatusArguments.Token_File

    let run (arguments: ParseResults<StatusArguments>) : int =
        let address, tokenFile = connection arguments

        Remote.run address tokenFile (fun client ct ->
            task {
                let! report = Remote.status client ct

                if arguments.Contains StatusArguments.Json then
                    Console.Out.WriteLine(asJson report)
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

        let again (client: SchedulerClient) (ct: CancellationToken) (show: StatusReport -> unit) =
            task {
                while true do
                    let! report = Remote.status client ct
                    show report
                    do! Remote.pause every ct
            }

        Remote.follow "watch" address tokenFile (fun client ct ->
            task {
                if isJson || not (Terminal.isOutput ()) then
                    do!
                        again client ct (fun report ->
                            printfn "%s" (if isJson then asJson report else line report))
                else
                    do!
                        (Columns.console ())
                            .Live(Text "")
                            .StartAsync(fun live ->
                                again client ct (fun report -> live.UpdateTarget(tables report)))

                return ExitCode.ok
            })
