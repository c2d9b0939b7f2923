namespace FsScheduler.Scheduler

open System
open System.IO
open Argu
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Journal
open FsScheduler.Cli
open FsScheduler.Sdk

/// The commands of `fs-scheduler`: the first word of a command line that starts no scheduler, but asks one or its journal.
module Commands =

    let private cannotStart (name: string) (message: string) =
        ClientCommand.printError name message
        ExitCode.cannotStart

    let private command<'arguments when 'arguments :> IArgParserTemplate>
        name
        (run: ParseResults<'arguments> -> int)
        =
        let guarded arguments =
            try
                run arguments
            with
            | Refusal message
            | FsScheduler.Conformance.WorkerNotStarted message
            | JournalRefused message
            | StoreError(_, message) -> cannotStart name message
            // The message of the SDK names an option of the SDK.
            | :? SchedulerRefusedException as error when error.NeedsToken ->
                cannotStart
                    name
                    "the scheduler wants a client's token: name a file with a line 'client TOKEN' with --token-file"
            | :? AnswerNotStoredException as error ->
                cannotStart name (ClientCommand.notStored error)
            | :? SchedulerException
            | :? IOException
            | :? UnauthorizedAccessException as error -> cannotStart name error.Message
            | :? OperationCanceledException -> ExitCode.interrupted

        fun args -> CommandLine.main<'arguments> $"fs-scheduler {name}" args guarded

    /// The words after `--` are the command line of the worker.
    let private conform (args: string[]) =
        let options, worker = ConformCommand.split args
        command "conform" (ConformCommand.run worker) options

    /// The name of each command, its line of help, and its entry point.
    let all: (string * string * (string[] -> int)) list = [
        "submit", "submits files, and writes their results", command "submit" SubmitCommand.run
        "status",
        "shows how many tasks are in which state, and the workers",
        command "status" StatusCommand.run
        "watch", "status once a second", command "watch" StatusCommand.watch
        "tasks", "lists tasks, with their states and errors", command "tasks" TasksCommand.run
        "stages",
        "lists the built-in stages, and those of connected workers",
        command "stages" StagesCommand.run
        "wait", "waits until tasks have ended", command "wait" WaitCommand.run
        "cat", "prints the results of tasks", command "cat" CatCommand.run
        "events",
        "prints the events of the journal, as JSON lines",
        command "events" EventsCommand.run
        "explain", "says why a task is where it is", command "explain" TaskCommands.explain
        "cancel", "gives up tasks in any state", command "cancel" TaskCommands.cancel
        "retry", "takes tasks out of quarantine", command "retry" RetryCommand.run
        "drain",
        "asks workers to finish what they hold and to leave",
        command "drain" TaskCommands.drain
        "replay",
        "shows the state of the scheduler at a moment, from its journal",
        command "replay" ReplayCommand.run
        "check", "checks whether the journal is intact", command "check" CheckCommand.run
        "journal",
        "copies the journal, also of a running scheduler",
        command "journal" JournalCommand.run
        "plan",
        "shows which pipeline each file of a folder would get",
        command "plan" PlanCommand.run
        "conform", "checks whether a worker keeps to the protocol", conform
    ]

    let names = all |> List.map (fun (name, _, _) -> name)

    /// The commands in the `--help` of the scheduler.
    let help =
        let lines =
            all |> List.map (fun (name, what, _) -> $"    {name.PadRight 10} {what}")

        let list = String.concat "\n" lines
        $"COMMANDS: fs-scheduler COMMAND …, instead of running a scheduler:\n\n{list}\n\n    fs-scheduler help COMMAND lists the options of a command.\n"

    let private find name =
        all
        |> List.tryFind (fun (command, _, _) -> command = name)
        |> Option.map (fun (_, _, run) -> run)

    let private unknown (name: string) =
        let hint =
            match Spelling.nearest ("help" :: "version" :: names) name with
            | Some near -> $"did you mean '{near}'?"
            | None -> $"""there are {String.concat ", " names}"""

        eprintfn
            $"fs-scheduler: there is no command '{Terminal.printable name}'; {hint}\nfs-scheduler --help says more."

        ExitCode.wrongArguments

    /// <summary>Runs the command that the first word names; a first word that is no option must be a command.</summary>
    /// <param name="args">The whole command line.</param>
    /// <param name="runScheduler">Runs a command line without a command.</param>
    let dispatch (args: string[]) (runScheduler: string[] -> int) : int =
        let describe () =
            let code = runScheduler [| "--help" |]
            printfn $"{help}"
            code

        match List.ofArray args with
        | [ "help" ]
        | [ "help"; ("help" | "--help" | "-h") ]
        | [ "--help" ]
        | [ "-h" ] -> describe ()
        | [ "version" ]
        | [ "help"; "version" ] -> runScheduler [| "--version" |]
        | "help" :: name :: _ ->
            match find name with
            | Some run -> run [| "--help" |]
            | None -> unknown name
        | name :: rest ->
            match find name with
            | Some run -> run (Array.ofList rest)
            | None when name <> "" && name[0] <> '-' -> unknown name
            | None -> runScheduler args
        | [] -> runScheduler args
