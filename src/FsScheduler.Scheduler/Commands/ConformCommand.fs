namespace FsScheduler.Scheduler

open System
open System.Text.Json
open Argu
open Spectre.Console
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Cli
open FsScheduler.Conformance

/// The command line of `fs-scheduler conform`, before its `--`.
[<RequireQualifiedAccess>]
type ConformArguments =
    | [<Unique>] Stage of NAME: string
    | Only of ROW: string list
    | [<Unique>] Timeout of DURATION: string
    | [<Unique>] List
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | ConformArguments.Stage _ ->
                "the stage to ask for, as NAME or NAME:ARGUMENT (default: lower, upper or the first that the worker offers)"
            | ConformArguments.Only _ -> "run these checks and the three basic ones only"
            | ConformArguments.Timeout _ ->
                "the longest wait for anything that the worker has to do; three times as long for its start (default: 10s)"
            | ConformArguments.List -> "list the checks, and start nothing"
            | ConformArguments.Json -> ClientCommand.jsonUsage

/// `conform`: whether a worker keeps to the protocol, also with a hostile scheduler. Exit code 0: no check failed; 1: a
/// check failed; 3: the worker cannot be started.
module ConformCommand =

    /// The options of `conform`, and the command of the worker, after the first `--`.
    let split (args: string[]) : string[] * string list =
        match Array.IndexOf(args, "--") with
        | -1 -> args, []
        | at -> args[.. at - 1], List.ofArray args[at + 1 ..]

    let private word (outcome: CheckOutcome) =
        match outcome with
        | Passed -> "passed"
        | Failed _ -> "failed"
        | NotApplicable _ -> "not applicable"

    let private printJson (finding: Conformance.Finding) =
        let expected, seen, reason =
            match finding.outcome with
            | Passed -> None, None, None
            | Failed(expected, seen) -> Some expected, Some seen, None
            | NotApplicable reason -> None, None, Some reason

        ClientCommand.printJson {|
            row = finding.check.id
            verdict = word finding.outcome
            checks = finding.check.checks
            expected = Option.toObj expected
            seen = Option.toObj seen
            reason = Option.toObj reason
            elapsedMs = int64 finding.elapsed.TotalMilliseconds
        |}

    let private print (findings: Conformance.Finding list) =
        if Terminal.isOutput () then
            let table = Table().RoundedBorder().AddColumns("check", "", "the worker")
            let escape (text: string) = Markup.Escape(Terminal.printable text)

            for finding in findings do
                let checks = escape finding.check.checks

                let colour, text =
                    match finding.outcome with
                    | Passed -> "green", checks
                    | Failed(expected, seen) ->
                        "red", $"{checks}\n[red]expected {escape expected}; seen: {escape seen}[/]"
                    | NotApplicable reason -> "grey", escape reason

                table.AddRow(finding.check.id, $"[{colour}]{word finding.outcome}[/]", text)
                |> ignore

            (Columns.console ()).Write table
        else
            for finding in findings do
                let text =
                    match finding.outcome with
                    | Passed -> finding.check.checks
                    | Failed(expected, seen) ->
                        $"{finding.check.checks}; expected {expected}; seen: {seen}"
                    | NotApplicable reason -> reason

                Columns.piped [ finding.check.id; word finding.outcome; text ]
                |> Console.Out.WriteLine

        let count name =
            findings
            |> List.filter (fun finding -> word finding.outcome = name)
            |> List.length

        printfn
            $"""{count "passed"} passed, {count "failed"} failed, {count "not applicable"} not applicable"""

    let private list (isJson: bool) =
        for check in Conformance.checks do
            if isJson then
                ClientCommand.printJson {| row = check.id; checks = check.checks |}
            else
                printfn $"%-16s{check.id} {check.checks}"

        ExitCode.ok

    let private wantedOf (arguments: ParseResults<ConformArguments>) : Check -> bool =
        match List.concat (arguments.GetResults ConformArguments.Only) with
        | [] -> fun _ -> true
        | names ->
            let known = Conformance.checks |> List.map _.id

            match List.except known names with
            | [] -> fun check -> List.contains check.id names
            | unknown :: _ ->
                let all = String.Join(", ", known)
                raise (WrongArguments $"--only: there is no check '{unknown}'; there are {all}")

    let private examine command (arguments: ParseResults<ConformArguments>) =
        let wanted = wantedOf arguments

        let examination = {
            command = command
            stage = arguments.TryGetResult ConformArguments.Stage
            patience =
                arguments.GetResult(ConformArguments.Timeout, "10s")
                |> CommandLine.durationFrom 1_000L<ms> "--timeout"
                |> fun patience -> TimeSpan.FromMilliseconds(float (min patience 600_000L<ms>))
        }

        use interruption = new Interruption()

        let findings =
            (Conformance.run examination wanted interruption.Token).GetAwaiter().GetResult()

        if arguments.Contains ConformArguments.Json then
            List.iter printJson findings
        else
            print findings

        if findings |> List.exists (fun finding -> word finding.outcome = "failed") then
            ExitCode.quarantined
        else
            ExitCode.ok

    /// Checks the worker that the command starts.
    let run (command: string list) (arguments: ParseResults<ConformArguments>) : int =
        match command with
        | _ when arguments.Contains ConformArguments.List ->
            list (arguments.Contains ConformArguments.Json)
        | [] ->
            raise (
                WrongArguments
                    "there is no command; write the command of the worker after --, such as: fs-scheduler conform -- python3 worker.py"
            )
        | program :: rest -> examine { program = program; arguments = rest } arguments
