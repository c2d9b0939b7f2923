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
                "the stage that is asked for, as NAME or NAME:ARGUMENT (default: lower, upper or the first that the worker offers)"
            | ConformArguments.Only _ -> "check these rows alone, and the basic ones"
            | ConformArguments.Timeout _ ->
                "the longest wait for anything that the worker is to do; three times as long for its start (default: 10s)"
            | ConformArguments.List -> "say what is checked, and start nothing"
            | ConformArguments.Json -> ClientCommand.jsonUsage

/// `conform`: whether a worker keeps to the protocol, also when its scheduler makes that hard. Exit code 0: it does; 1: a
/// row failed; 3: it cannot be started.
module ConformCommand =

    /// Our own arguments, and the command behind the first `--`.
    let split (args: string[]) : string[] * string list =
        match Array.IndexOf(args, "--") with
        | -1 -> args, []
        | at -> args[.. at - 1], List.ofArray args[at + 1 ..]

    let private word (outcome: CheckOutcome) =
        match outcome with
        | Passed -> "passed"
        | Failed _ -> "failed"
        | NotApplicable _ -> "not applicable"

    let private asJson (finding: Conformance.Finding) =
        let expected, seen, reason =
            match finding.outcome with
            | Passed -> None, None, None
            | Failed(expected, seen) -> Some expected, Some seen, None
            | NotApplicable reason -> None, None, Some reason

        ClientCommand.json {|
            row = finding.check.id
            verdict = word finding.outcome
            checks = finding.check.checks
            expected = Option.toObj expected
            seen = Option.toObj seen
            reason = Option.toObj reason
            elapsedMs = int64 finding.elapsed.TotalMilliseconds
        |}

    let private tell (findings: Conformance.Finding list) =
        let table = Table().RoundedBorder().AddColumns("row", "", "the worker")
        let escape (text: string) = Markup.Escape(Terminal.printable text)

        for finding in findings do
            let colour, said =
                match finding.outcome with
                | Passed -> "green", escape finding.check.checks
                | Failed(expected, seen) ->
                    "red",
                    $"{escape finding.check.checks}\n[red]expected {escape expected}; seen: {escape seen}[/]"
                | NotApplicable reason -> "grey", escape reason

            table.AddRow(finding.check.id, $"[{colour}]{word finding.outcome}[/]", said)
            |> ignore

        if Terminal.isOutput () then
            (Columns.console ()).Write table
        else
            for finding in findings do
                let said =
                    match finding.outcome with
                    | Passed -> finding.check.checks
                    | Failed(expected, seen) ->
                        $"{finding.check.checks}; expected {expected}; seen: {seen}"
                    | NotApplicable reason -> reason

                Console.Out.WriteLine(Columns.piped [ finding.check.id; word finding.outcome; said ])

        let count name =
            findings
            |> List.filter (fun finding -> word finding.outcome = name)
            |> List.length

        printfn
            $"""{count "passed"} passed, {count "failed"} failed, {count "not applicable"} not applicable"""

    let private list (isJson: bool) =
        for check in Conformance.checks do
            if isJson then
                printfn $"{ClientCommand.json {| row = check.id; checks = check.checks |}}"
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
            for finding in findings do
                printfn $"{asJson finding}"
        else
            tell findings

        if findings |> List.exists (fun finding -> word finding.outcome = "failed") then
            ExitCode.quarantined
        else
            ExitCode.ok

    /// Examines the worker that the command starts.
    let run (command: string list) (arguments: ParseResults<ConformArguments>) : int =
        match command with
        | _ when arguments.Contains ConformArguments.List ->
            list (arguments.Contains ConformArguments.Json)
        | [] ->
            raise (
                WrongArguments
                    "there is no command; write it behind --, such as: fs-scheduler conform -- python3 worker.py"
            )
        | program :: rest -> examine { program = program; arguments = rest } arguments
