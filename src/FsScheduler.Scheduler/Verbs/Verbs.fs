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
        // Also what is piped into a full disk, or into a program that has ended.
        let guarded arguments =
            try
                run arguments
            with
            | :? IOException
            | :? UnauthorizedAccessException as error ->
                eprintfn $"fs-scheduler {name}: {error.Message}"
                ExitCode.cannotStart

        name, (fun args -> CommandLine.main<'arguments> $"fs-scheduler {name}" args guarded)

    let all: (string * (string[] -> int)) list = [
        verb "submit" SubmitVerb.run
        verb "status" StatusVerb.run
        verb "watch" StatusVerb.watch
        verb "events" TaskVerbs.events
        verb "cancel" TaskVerbs.cancel
        verb "retry" TaskVerbs.retry
        verb "drain" TaskVerbs.drain
        verb "explain" TaskVerbs.explain
        verb "replay" ReplayVerb.run
        verb "check" CheckVerb.run
    ]

    /// What `--help` of the scheduler says of them.
    let help =
        let names = all |> List.map fst |> String.concat ", "
        $"Besides: fs-scheduler VERB, with VERB one of {names}; each has its own --help."

    let tryFind name =
        all |> List.tryFind (fun (verb, _) -> verb = name) |> Option.map snd
