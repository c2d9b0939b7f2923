namespace FsScheduler.Scheduler

open System.IO
open System.Text.Json
open Argu
open FsScheduler.Runtime

/// The command line of `fs-scheduler check`.
[<RequireQualifiedAccess>]
type CheckArguments =
    | [<Unique>] State of FOLDER: string
    | [<Unique>] Repair
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | CheckArguments.State _ -> "the folder of the journal (default: .fs-scheduler)"
            | CheckArguments.Repair ->
                "write all that can be read into a new file beside the damaged one"
            | CheckArguments.Json -> Remote.jsonUsage

/// `check`: whether the journal of a state folder is whole. Exit code 0: it is; 1: it is damaged; 3: there is none.
module CheckVerb =

    let private asJson (report: JournalReport) (repaired: JournalRepaired option) =
        Remote.json {|
            whole = report.troubles.IsEmpty
            troubles = report.troubles
            rows = dict report.rows
            repaired =
                match repaired with
                | Some repaired ->
                    box {|
                        path = repaired.path
                        rows = dict repaired.rows
                        wrong = repaired.wrong
                        gaps = repaired.gaps
                        missing = repaired.missing
                    |}
                | None -> null
        |}

    let private tell (path: string) (report: JournalReport) =
        if report.troubles.IsEmpty then
            printfn $"{path} is whole"
        else
            printfn $"{path} is damaged:"

            for trouble in report.troubles do
                printfn $"  {trouble}"

        for table, count in report.rows do
            printfn $"  {count} rows of {table} are right"

    let private tellRepaired (path: string) (repaired: JournalRepaired) =
        printfn $"{repaired.path} has what can be read:"

        for table, count in repaired.rows do
            printfn $"  {count} rows of {table}"

        printfn $"  {repaired.wrong} rows were wrong, and {repaired.gaps} places could not be read"

        for sentence in repaired.missing do
            printfn $"  {sentence}"

        if
            repaired.rows
            |> List.exists (fun (table, count) -> table = "task" && count = 0L)
        then
            printfn "  no task could be read: whoever uses it loses the queue"

        printfn
            $"To use it, keep {path} and what is beside it with -wal and -shm somewhere else, and give {Path.GetFileName repaired.path} the name {JournalFile.name}."

    let run (arguments: ParseResults<CheckArguments>) : int =
        let path =
            JournalFile.pathIn (arguments.GetResult(CheckArguments.State, ".fs-scheduler"))

        if not (File.Exists path || WriteAheadLog.isThere path) then
            Remote.complain "check" $"there is no journal {path}; name its folder with --state"
            ExitCode.cannotStart
        else
            let report = JournalCheck.check path

            let repaired =
                if arguments.Contains CheckArguments.Repair && not report.troubles.IsEmpty then
                    Some(JournalRepair.repair path)
                else
                    None

            if arguments.Contains CheckArguments.Json then
                printfn $"{asJson report repaired}"
            else
                tell path report
                Option.iter (tellRepaired path) repaired

            if report.troubles.IsEmpty then
                ExitCode.ok
            else
                ExitCode.quarantined
