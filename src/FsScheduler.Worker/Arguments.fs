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
            | Connect _ -> "the address of the scheduler (default: 127.0.0.1:7070)"
            | Slots _ ->
                "the number of tasks that the worker holds at once (default: the number of processors)"
            | Name _ -> "the name of the worker (default: HOST-PID)"
            | Stages _ ->
                "the built-in stages to offer, such as 'lower,trim' (default: all that are built in)"
            | Allow_Exec _ ->
                "a program that exec, exec-file and exec-lines may run, such as jq or /opt/ocr/run; repeatable (default: none)"
            | Shared_Files _ ->
                "a folder that the scheduler sees under the same path, such as its --entrada and the folder spool in its --state: if the scheduler has --shared-files, payloads and results in it are not sent; repeatable (default: none)"
            | Token_File _ -> "a file with a line 'worker TOKEN', if the scheduler asks for a token"
            | Give_Up _ ->
                "end when no scheduler was found for this time, such as 30s (default: never)"
            | Drain _ -> "how long to go on with tasks when the worker is stopped (default: 10s)"
            | Log_Level _ -> "trace, debug, info, warn, error or none (default: info)"
            | Quiet -> "as --log-level warn"
            | Verbose -> "as --log-level debug"
            | Log_Format _ ->
                "text, or json for one object per line (default: text); logs go to standard error"
            | End_With_Stdin ->
                "end when standard input ends: so a worker ends with the process that started it"
