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
                "files, and folders with all their files; - is standard input, whose result goes to standard output"
            | SubmitArguments.Pipeline _ ->
                "the stages that each file goes through (default: the scheduler's own)"
            | SubmitArguments.Priority _ ->
                "tasks of a higher priority are first; -1000000 to 1000000 (default: 0)"
            | SubmitArguments.Key _ ->
                "the same key with the same files runs nothing twice (default: a new one)"
            | SubmitArguments.Out _ ->
                "the folder that results are written to, as NAME.out (default: the current folder)"
            | SubmitArguments.Name_As _ ->
                "the names of results below --out, with {} {.} {/} {/.} {//} as in GNU parallel and {n} for a number (default: NAME.out)"
            | SubmitArguments.Halt _ ->
                "when to stop early, as in GNU parallel: now,fail=1 cancels the files on their way, soon,fail=10% waits for them; also success and done (default: never)"
            | SubmitArguments.Joblog _ ->
                "write a line for each file that has ended, in the columns of GNU parallel; with + in front of FILE, lines are added"
            | SubmitArguments.Eta -> "print the remaining time on standard error"
            | SubmitArguments.Quiet -> "print errors only"
            | SubmitArguments.Verbose -> "also print which files are accepted"
            | SubmitArguments.No_Wait ->
                "end when all files are accepted; results go to the scheduler's own folder of results"
            | SubmitArguments.Connect _ -> ClientCommand.connectUsage
            | SubmitArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | SubmitArguments.Json -> ClientCommand.jsonUsage
