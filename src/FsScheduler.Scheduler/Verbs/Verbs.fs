namespace FsScheduler.Scheduler

open System
open System.IO
open Argu
open FsScheduler.Runtime

/// The first word of a command line that is not about running a scheduler, but about asking one, or its journal.
module Verbs =

    let private verb<'arguments when 'arguments :> IArgParserTemplate>
        name
        (run: ParseResults<'arguments> -> int)
        =
        let guarded arguments =
            try
                run arguments
            with
            | Unreachable message
            | Refusal message
            | Conform.Unstartable message
            | JournalRefused message ->
                Remote.complain name message
                ExitCode.cannotStart
            // Also where its output goes into a full disk, or to a program that has ended.
            | :? IOException
            | :? UnauthorizedAccessException as error ->
                Remote.complain name error.Message
                ExitCode.cannotStart
            | :? OperationCanceledException -> ExitCode.interrupted

        name, (fun args -> CommandLine.main<'arguments> $"fs-scheduler {name}" args guarded)

    /// What stands behind `--` is somebody else's command line.
    let private conform (args: string[]) =
        let options, command = ConformVerb.split args
        snd (verb "conform" (ConformVerb.run command)) options

    let all: (string * (string[] -> int)) list = [
        verb "submit" SubmitVerb.run
        verb "status" StatusVerb.run
        verb "watch" StatusVerb.watch
        verb "events" TaskVerbs.events
        verb "cancel" TaskVerbs.cancel
        verb "retry" RetryVerb.run
        verb "drain" TaskVerbs.drain
        verb "explain" TaskVerbs.explain
        verb "replay" ReplayVerb.run
        verb "check" CheckVerb.run
        verb "plan" PlanVerb.run
        "conform", conform
    ]

    /// What `--help` of the scheduler says of them.
    let help =
        let names = all |> List.map fst |> String.concat ", "
        $"Besides: fs-scheduler VERB, with VERB one of {names}; each has its own --help."

    let tryFind name =
        all |> List.tryFind (fun (verb, _) -> verb = name) |> Option.map snd
