namespace FsScheduler.Scheduler

open System.IO
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
                "backup FILE: copy the journal into a new file, also while a scheduler writes it"
            | JournalArguments.State _ -> "the folder of the journal (default: .fs-scheduler)"

/// `journal backup FILE`: a copy of the journal that is whole at a moment. Exit code 0: it is there; 3: it could not be made.
module JournalCommand =

    let run (arguments: ParseResults<JournalArguments>) : int =
        let path =
            StateJournal.pathIn (arguments.GetResult(JournalArguments.State, ".fs-scheduler"))

        match arguments.GetResult JournalArguments.Backup with
        | [ "backup"; target ] ->
            if not (File.Exists path) then
                raise (IOException $"there is no journal {path}; name its folder with --state")

            JournalBackup.run path target StateJournal.restrict
            printfn $"{target} has what {path} had"
            ExitCode.ok
        | [ "backup" ] -> raise (WrongArguments "journal backup: name the file to copy into")
        | other :: _ ->
            raise (WrongArguments $"journal: there is no '{other}'; there is 'journal backup FILE'")
        | [] -> raise (WrongArguments "journal: say 'journal backup FILE'")
