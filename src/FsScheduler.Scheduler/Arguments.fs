namespace FsScheduler.Scheduler

open Argu

/// The command line of `fs-scheduler`.
type Arguments =
    | [<Unique>] Entrada of FOLDER: string
    | [<Unique>] Resultados of FOLDER: string
    | [<Unique>] Listen of ``HOST:PORT``: string
    | [<Unique>] Pipeline of STAGES: string
    | Route of ``PATTERN=STAGES``: string
    | Ignore of PATTERN: string
    | [<Unique>] State of FOLDER: string
    | [<Unique>] Once
    | [<Unique>] Once_Timeout of DURATION: string
    | [<Unique>] Again
    | [<Unique>] Accept_Loss
    | [<Unique>] Workers of COUNT: int
    | Allow_Exec of PROGRAM: string
    | [<Unique>] Shared_Files
    | [<Unique>] Max_Attempts of COUNT: int
    | [<Unique>] Task_Timeout of DURATION: string
    | [<Unique>] Spool_Bytes of SIZE: string
    | [<Unique>] Split of SIZE: string
    | [<Unique>] Speculate of FACTOR: float
    | [<Unique>] Settle of DURATION: string
    | [<Unique>] Beat of DURATION: string
    | [<Unique>] Lost_After of DURATION: string
    | [<Unique>] Max_Payload of SIZE: string
    | [<Unique>] Max_Result of SIZE: string
    | [<Unique>] Expect of STAGES: string
    | [<Unique>] On_Done of ACTION: string
    | [<Unique>] Sync of LEVEL: string
    | [<Unique>] Retain of DURATION: string
    | [<Unique>] Retain_Bytes of SIZE: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Drain of DURATION: string
    | [<Unique>] Log_Level of LEVEL: string
    | [<Unique; AltCommandLine("-q")>] Quiet
    | [<Unique; AltCommandLine("-v")>] Verbose
    | [<Unique>] Log_Format of FORMAT: string

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Entrada _ -> "the folder that files are taken from (default: entrada)"
            | Resultados _ ->
                "the folder that results are written to, as NAME.out (default: resultados)"
            | Listen _ ->
                "where workers and clients connect; port 0 takes a free port, [::] takes IPv4 too (default: 127.0.0.1:7070)"
            | Pipeline _ ->
                "the stages that each file goes through, such as 'lower | trim' (default: lower)"
            | Route _ ->
                "another pipeline for files whose name fits, such as '*.csv=grep:erro | words'; repeatable, the first that fits counts"
            | Ignore _ ->
                "files, or folders with all their contents, that are left alone, as patterns of --route; repeatable"
            | State _ ->
                "the folder of the scheduler's own files: the journal, and payloads too large for memory (default: .fs-scheduler)"
            | Once -> "end when everything in --entrada is done"
            | Once_Timeout _ ->
                "end --once after this time, with exit code 1 and a line that names what is left (default: never)"
            | Accept_Loss ->
                "start although the journal has lost its end; what is missing is done again or stays unknown"
            | Again ->
                "process all files again, also those that were done before or are in quarantine"
            | Workers _ -> "start this many workers on this machine (default: 0)"
            | Allow_Exec _ ->
                "a program that these workers may run as a stage, such as jq or /opt/ocr/run; repeatable (default: none)"
            | Shared_Files ->
                "send the paths of payloads and results, and not their bytes, to workers that see the same files"
            | Max_Attempts _ -> "a task goes into quarantine after this many failures (default: 3)"
            | Task_Timeout _ -> "an attempt that takes longer is given up (default: 5m)"
            | Spool_Bytes _ ->
                "how many bytes may wait for one stage; then no work is started that leads to this stage; off: no limit (default: 16GiB)"
            | Split _ ->
                "larger payloads are processed in pieces of about this size, if their stages allow it; off: never (default: 16MiB)"
            | Speculate _ ->
                "a piece that takes this many times as long as most is also given to a second worker; 0: never (default: 3)"
            | Settle _ -> "a file is taken when it has not changed for this time (default: 500ms)"
            | Beat _ ->
                "how often workers give a sign of life (default: 1s, or a third of --lost-after)"
            | Lost_After _ -> "a worker that is silent for this time counts as lost (default: 5s)"
            | Max_Payload _ -> "the largest payload that a client may submit (default: 64MiB)"
            | Max_Result _ -> "the largest result that a worker may send (default: 16GiB)"
            | Expect _ ->
                "stages that workers will offer later, such as 'ocr,exec:jq'; the pipeline may name them at once"
            | On_Done _ ->
                "what happens to a file that is done: keep, move (to .processados in --entrada) or delete (default: keep)"
            | Sync _ ->
                "normal: flush the journal; full: flush results too; off: flush neither, which survives a killed process but not a power cut (default: normal)"
            | Retain _ -> "forget finished tasks after this time (default: 7d)"
            | Retain_Bytes _ ->
                "forget the oldest finished tasks when the journal takes more (default: 1GiB)"
            | Token_File _ ->
                "a file with lines 'worker TOKEN' and 'client TOKEN'; needed beyond loopback"
            | Drain _ ->
                "how long running tasks may go on when the scheduler is stopped (default: 10s)"
            | Log_Level _ -> "trace, debug, info, warn, error or none (default: info)"
            | Quiet -> "as --log-level warn"
            | Verbose -> "as --log-level debug"
            | Log_Format _ ->
                "text, or json for one object per line (default: text); logs go to standard error"
