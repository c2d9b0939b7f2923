namespace FsScheduler.Worker

open Argu

/// The command line of `fs-worker`.
type Arguments =
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Slots of COUNT: int
    | [<Unique>] Name of NAME: string
    | [<Unique>] Stages of NAMES: string
    | Allow_Exec of PROGRAM: string
    | Shared_Files of FOLDER: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Give_Up of DURATION: string
    | [<Unique>] Drain of DURATION: string
    | [<Unique>] Log_Level of LEVEL: string
    | [<Unique; AltCommandLine("-q")>] Quiet
    | [<Unique; AltCommandLine("-v")>] Verbose
    | [<Unique>] Log_Format of FORMAT: string
    | [<Hidden; Unique>] End_With_Stdin

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Connect _ -> "where the scheduler listens (default: 127.0.0.1:7070)"
            | Slots _ -> "how many tasks to hold at once (default: the number of processors)"
            | Name _ -> "what people call this worker (default: HOST-PID)"
            | Stages _ -> "the stages to run, such as 'lower,trim' (default: all that are built in)"
            | Allow_Exec _ ->
                "a program that exec, exec-file and exec-lines may run, such as jq or /opt/ocr/run; once for each (default: none)"
            | Shared_Files _ ->
                "a folder that the scheduler sees under the same path, as its --entrada and the spool folder in its --state: with --shared-files there too, payloads and results in it need not travel; once for each (default: none)"
            | Token_File _ -> "a file with a line 'worker TOKEN', where the scheduler asks for one"
            | Give_Up _ ->
                "end when no scheduler was found for this long, such as 30s (default: never)"
            | Drain _ -> "how long to go on with its tasks when asked to end (default: 10s)"
            | Log_Level _ -> "trace, debug, info, warn, error or none (default: info)"
            | Quiet -> "as --log-level warn"
            | Verbose -> "as --log-level debug"
            | Log_Format _ -> "text or json (default: text); logs go to stderr"
            | End_With_Stdin -> "end when standard input ends: so a worker ends with who started it"
