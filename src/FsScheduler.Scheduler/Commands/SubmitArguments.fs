namespace FsScheduler.Scheduler

open Argu

/// The command line of `fs-scheduler submit`.
[<RequireQualifiedAccess>]
type SubmitArguments =
    | [<MainCommand>] Files of FILE: string list
    | [<Unique>] Pipeline of STAGES: string
    | [<Unique>] Priority of NUMBER: int
    | [<Unique>] Key of KEY: string
    | [<Unique>] Out of FOLDER: string
    | [<Unique>] Name_As of TEMPLATE: string
    | [<Unique>] No_Wait
    | [<Unique>] Halt of WHEN: string
    | [<Unique>] Joblog of FILE: string
    | [<Unique>] Eta
    | [<Unique; AltCommandLine("-q")>] Quiet
    | [<Unique; AltCommandLine("-v")>] Verbose
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | SubmitArguments.Files _ ->
                "the files, and folders with all that is in them; - is standard input, whose result goes to standard output"
            | SubmitArguments.Pipeline _ -> "what is done with each (default: the scheduler's own)"
            | SubmitArguments.Priority _ -> "higher first (default: 0)"
            | SubmitArguments.Key _ ->
                "for idempotence: the same key with the same files runs nothing twice (default: a new one)"
            | SubmitArguments.Out _ -> "where results go, as NAME.out (default: the current folder)"
            | SubmitArguments.Name_As _ ->
                "what results are called below --out, with {} {.} {/} {/.} {//} as in GNU parallel and {n} for a number (default: NAME.out)"
            | SubmitArguments.Halt _ ->
                "when to stop early, as in GNU parallel: now,fail=1 cancels what is on its way, soon,fail=10% waits for it; also success and done (default: never)"
            | SubmitArguments.Joblog _ ->
                "a file for a line for each that has ended, in the columns of GNU parallel; with + in front lines are added"
            | SubmitArguments.Eta -> "how long it may still take, on standard error"
            | SubmitArguments.Quiet -> "say only what is wrong"
            | SubmitArguments.Verbose -> "say also what is accepted"
            | SubmitArguments.No_Wait ->
                "end when all are accepted; results go to the scheduler's own folder of results"
            | SubmitArguments.Connect _ -> ClientCommand.connectUsage
            | SubmitArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | SubmitArguments.Json -> ClientCommand.jsonUsage
