namespace FsScheduler.Scheduler

open System.IO
open System.Text.Json
open Argu
open FsScheduler.Journal
open FsScheduler.Server
open FsScheduler.Cli

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
                "copy every whole batch into a new file beside the damaged one"
            | CheckArguments.Json -> ClientCommand.jsonUsage

/// `check`: whether the journal of a state folder is whole. Exit code 0: it is; 1: it is damaged; 3: there is none.
module CheckCommand =

    let private ofReport (report: JournalReport) = {|
        damage = report.damage
        batches = report.batches
        events = report.events
        lost = report.lost
        first = report.first
        next = report.next
    |}

    let private asJson (report: JournalReport) (repaired: JournalRepaired option) =
        ClientCommand.json {|
            whole = report.damage.IsEmpty
            report = ofReport report
            repaired =
                match repaired with
                | Some repaired -> box {| path = repaired.path; report = ofReport repaired.report |}
                | None -> null
        |}

    let private tellContent (report: JournalReport) =
        printfn
            $"  {report.events} events in {report.batches} batches are right, from number {report.first} on"

        if report.lost > 0L then
            printfn $"  {report.lost} events are lost"

    let private tell (path: string) (report: JournalReport) =
        if report.damage.IsEmpty then
            printfn $"{path} is whole"
        else
            printfn $"{path} is damaged:"

            for sentence in report.damage do
                printfn $"  {sentence}"

        tellContent report

    let private tellRepaired (path: string) (repaired: JournalRepaired) =
        printfn $"{repaired.path} has every whole batch:"
        tellContent repaired.report

        printfn
            $"To use it, keep {path} and what is beside it with -wal, -shm and .mark somewhere else, and give {Path.GetFileName repaired.path} and its .mark the name {StateJournal.name}. Where a page of the file itself is damaged, 'sqlite3 {path} .recover' may save more."

    let run (arguments: ParseResults<CheckArguments>) : int =
        let path =
            StateJournal.pathIn (arguments.GetResult(CheckArguments.State, ".fs-scheduler"))

        if not (File.Exists path) then
            ClientCommand.complain
                "check"
                $"there is no journal {path}; name its folder with --state"

            ExitCode.cannotStart
        else
            let report = JournalCheck.run path

            let repaired =
                if arguments.Contains CheckArguments.Repair && not report.damage.IsEmpty then
                    Some(JournalRepair.run path StateJournal.restrict)
                else
                    None

            if arguments.Contains CheckArguments.Json then
                printfn $"{asJson report repaired}"
            else
                tell path report
                Option.iter (tellRepaired path) repaired

            if report.damage.IsEmpty then
                ExitCode.ok
            else
                ExitCode.quarantined
