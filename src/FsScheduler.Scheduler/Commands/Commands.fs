namespace FsScheduler.Scheduler

open System
open System.IO
open Argu
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Journal
open FsScheduler.Cli
open FsScheduler.Sdk

/// The first word of a command line that is not about running a scheduler, but about asking one, or its journal.
module Commands =

    let private verb<'arguments when 'arguments :> IArgParserTemplate>
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
            | StoreError(_, message) ->
                ClientCommand.complain name message
                ExitCode.cannotStart
            // The SDK names its own option.
            | :? SchedulerRefusedException as error when error.NeedsToken ->
                ClientCommand.complain
                    name
                    "the scheduler wants a client's token: name a file with a line 'client TOKEN' with --token-file"

                ExitCode.cannotStart
            | :? SchedulerException as error ->
                ClientCommand.complain name error.Message
                ExitCode.cannotStart
            | :? AnswerNotStoredException as error ->
                ClientCommand.complain name (ClientCommand.unstored error)
                ExitCode.cannotStart
            // Also where its output goes into a full disk, or to a program that has ended.
            | :? IOException
            | :? UnauthorizedAccessException as error ->
                ClientCommand.complain name error.Message
                ExitCode.cannotStart
            | :? OperationCanceledException -> ExitCode.interrupted

        fun args -> CommandLine.main<'arguments> $"fs-scheduler {name}" args guarded

    /// What stands behind `--` is somebody else's command line.
    let private conform (args: string[]) =
        let options, command = ConformCommand.split args
        verb "conform" (ConformCommand.run command) options

    /// Name, what it does in one line, and how it is run.
    let all: (string * string * (string[] -> int)) list = [
        "submit", "sends files in and writes their results", verb "submit" SubmitCommand.run
        "status",
        "how many tasks are in which state, and the workers",
        verb "status" StatusCommand.run
        "watch", "the same, once a second", verb "watch" StatusCommand.watch
        "tasks", "which tasks there are, in which state and why", verb "tasks" TasksCommand.run
        "stages",
        "the stages that are built in, and those of connected workers",
        verb "stages" StagesCommand.run
        "wait", "until tasks have ended", verb "wait" WaitCommand.run
        "cat", "prints the results of tasks", verb "cat" CatCommand.run
        "events", "what was recorded, as JSON lines", verb "events" EventsCommand.run
        "explain", "why a task is where it is", verb "explain" TaskCommands.explain
        "cancel", "gives up tasks, wherever they are", verb "cancel" TaskCommands.cancel
        "retry", "gets tasks out of quarantine", verb "retry" RetryCommand.run
        "drain", "has workers finish what they hold and go", verb "drain" TaskCommands.drain
        "replay",
        "what the scheduler knew at a moment, from its journal",
        verb "replay" ReplayCommand.run
        "check", "whether the journal is whole", verb "check" CheckCommand.run
        "journal",
        "copies the journal, also of a scheduler that runs",
        verb "journal" JournalCommand.run
        "plan", "which pipeline each file of a folder would get", verb "plan" PlanCommand.run
        "conform", "whether a worker of yours keeps to the protocol", conform
    ]

    let names = all |> List.map (fun (name, _, _) -> name)

    /// What `--help` of the scheduler says of them.
    let help =
        let lines =
            all |> List.map (fun (name, what, _) -> $"    {name.PadRight 10} {what}")

        let list = String.concat "\n" lines
        $"VERBS: fs-scheduler VERB …, instead of running a scheduler:\n\n{list}\n\n    fs-scheduler help VERB says more of one.\n"

    let private find name =
        all
        |> List.tryFind (fun (verb, _, _) -> verb = name)
        |> Option.map (fun (_, _, run) -> run)

    let private unknown (name: string) =
        let hint =
            match Spelling.nearest ("help" :: "version" :: names) name with
            | Some near -> $"did you mean '{near}'?"
            | None -> $"""there are {String.concat ", " names}"""

        eprintfn
            $"fs-scheduler: there is no verb '{Terminal.printable name}'; {hint}\nfs-scheduler --help says more."

        ExitCode.wrongArguments

    /// <summary>Runs what the first word of a command line says, if it is a verb, or looks like one.</summary>
    /// <param name="args">All of it.</param>
    /// <param name="runScheduler">Does the rest: without a verb.</param>
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
