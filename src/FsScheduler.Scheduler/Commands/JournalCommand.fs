namespace FsScheduler.Scheduler

open Argu
open FsScheduler.Journal
open FsScheduler.Server
open FsScheduler.Cli

/// The command line of `fs-scheduler journal`.
[<RequireQualifiedAccess>]
type JournalArguments =
    | [<MainCommand; Mandatory>] Backup of BACKUP_FILE: string list
    | [<Unique>] State of FOLDER: string

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | JournalArguments.Backup _ ->
                "backup FILE: copy the journal into a new file, also while a scheduler writes the journal"
            | JournalArguments.State _ -> "the folder of the journal (default: .fs-scheduler)"

/// `journal backup FILE`: a consistent copy of the journal. Exit code 0: copied; 3: it could not be copied.
module JournalCommand =

    let run (arguments: ParseResults<JournalArguments>) : int =
        let state = arguments.GetResult(JournalArguments.State, ".fs-scheduler")

        match arguments.GetResult JournalArguments.Backup with
        | [ "backup"; target ] ->
            let path = FolderArguments.journalIn state
            JournalBackup.run path target StateJournal.restrict
            printfn $"{path} is copied to {target}"
            ExitCode.ok
        | [ "backup" ] -> raise (WrongArguments "journal backup: name the file to copy into")
        | other :: _ ->
            raise (WrongArguments $"journal: there is no '{other}'; write 'journal backup FILE'")
        | [] -> raise (WrongArguments "journal: write 'journal backup FILE'")
