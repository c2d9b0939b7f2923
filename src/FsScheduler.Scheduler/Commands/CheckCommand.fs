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
                "copy every intact batch of a damaged journal into journal.repaired.db beside it; the old files stay as they are"
            | CheckArguments.Json -> ClientCommand.jsonUsage

/// `check`: whether the journal of a state folder is intact. Exit code 0: intact; 1: damaged; 3: there is no journal.
module CheckCommand =

    let private ofReport (report: JournalReport) = {|
        damage = report.damage
        batches = report.batches
        events = report.events
        lost = report.lost
        first = report.first
        next = report.next
    |}

    let private printJson (report: JournalReport) (repaired: JournalRepaired option) =
        ClientCommand.printJson {|
            whole = report.damage.IsEmpty
            report = ofReport report
            repaired =
                match repaired with
                | Some repaired -> box {| path = repaired.path; report = ofReport repaired.report |}
                | None -> null
        |}

    let private printContent (report: JournalReport) =
        printfn
            $"  {report.events} events in {report.batches} batches are intact, from number {report.first} on"

        if report.lost > 0L then
            printfn $"  {report.lost} events are lost"

    let private print (path: string) (report: JournalReport) =
        if report.damage.IsEmpty then
            printfn $"{path} is intact"
        else
            printfn $"{path} is damaged:"

            for sentence in report.damage do
                printfn $"  {sentence}"

        printContent report

    let private printRepaired (path: string) (repaired: JournalRepaired) =
        printfn $"{repaired.path} has every intact batch:"
        printContent repaired.report

        printfn
            $"To use {Path.GetFileName repaired.path}, move {path} and its files -wal, -shm and .mark elsewhere, and rename {Path.GetFileName repaired.path} and its .mark to {StateJournal.name}. If a page of {path} itself is damaged, 'sqlite3 {path} .recover' may save more."

    let run (arguments: ParseResults<CheckArguments>) : int =
        let path =
            FolderArguments.journalIn (arguments.GetResult(CheckArguments.State, ".fs-scheduler"))

        let report = JournalCheck.run path

        let repaired =
            if arguments.Contains CheckArguments.Repair && not report.damage.IsEmpty then
                Some(JournalRepair.run path StateJournal.restrict)
            else
                None

        if arguments.Contains CheckArguments.Json then
            printJson report repaired
        else
            print path report
            Option.iter (printRepaired path) repaired

        if report.damage.IsEmpty then
            ExitCode.ok
        else
            ExitCode.quarantined
