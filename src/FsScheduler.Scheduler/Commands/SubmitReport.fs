namespace FsScheduler.Scheduler

open System
open Argu
open FsScheduler.Platform
open FsScheduler.Cli

/// What `submit` prints about its files, and writes to the job log.
module SubmitReport =

    let private printJson (upload: Upload) ending =
        let task, result, error: int64 option * (string | null) * (string | null) =
            match ending with
            | Stored(id, path) -> Some id, path, null
            | Enqueued id -> Some id, null, null
            | Failed(id, error) -> id, null, error

        ClientCommand.printJson {|
            file = upload.file
            task = Option.toNullable task
            result = result
            error = error
        |}

    let private sentence (upload: Upload) ending =
        match ending with
        | Stored _ when upload.file = "-" -> None // standard output is its result
        | Stored(id, path) -> Some $"{upload.file}: done by task {id}, {path}"
        | Enqueued id -> Some $"{upload.file}: accepted as task {id}"
        | Failed(Some id, error) -> Some $"{upload.file}: task {id} failed: {error}"
        | Failed(None, error) -> Some $"{upload.file}: refused: {error}"
        |> Option.map Terminal.printable

    /// Prints ended files on standard output, unless the result of `-` goes there; everything else on standard error.
    let make
        (arguments: ParseResults<SubmitArguments>)
        (progress: ProgressLine)
        (log: JobLog option)
        : IUploadReport =
        let isJson = arguments.Contains SubmitArguments.Json
        let isQuiet = arguments.Contains SubmitArguments.Quiet

        let isPiped = arguments.GetResult(SubmitArguments.Files, []) |> List.contains "-"

        let out (line: string) =
            if isPiped then eprintfn "%s" line else printfn "%s" line

        // A reason to wait is printed again once a file has ended.
        let lastReason = ref ""
        let ended = ref 0
        let endedThen = ref 0

        {
            new IUploadReport with
                member _.Accepted(upload, task) =
                    if arguments.Contains SubmitArguments.Verbose then
                        progress.Around(fun () ->
                            eprintfn
                                "%s: accepted as task %d"
                                (Terminal.printable upload.file)
                                task)

                member _.Ended(count, upload, ending, started, received, isCancelled) =
                    ended.Value <- count

                    progress.Around(fun () ->
                        if isJson then
                            printJson upload ending
                        else
                            match sentence upload ending with
                            | Some line when ending.IsFailed -> eprintfn "%s" line
                            | Some line when not isQuiet -> out line
                            | _ -> ())

                    progress.Show count

                    match log with
                    | Some log ->
                        log.Add {
                            number = upload.number
                            file = upload.file
                            started = started
                            took = DateTimeOffset.UtcNow - started
                            sent = upload.size
                            received = received
                            isFailed = ending.IsFailed
                            isCancelled = isCancelled
                        }
                    | None -> ()

                member _.Halted(rule, left, underway) =
                    let what =
                        match rule.mode with
                        | HaltMode.Soon -> "are waited for"
                        | HaltMode.Now -> "are cancelled"

                    progress.Around(fun () ->
                        eprintfn
                            $"fs-scheduler submit: stopping by --halt: {left} files are not sent, {underway} on their way {what}")

                member _.Waiting(reason) =
                    if reason <> lastReason.Value || ended.Value > endedThen.Value then
                        lastReason.Value <- reason
                        endedThen.Value <- ended.Value

                        progress.Around(fun () ->
                            eprintfn $"waiting for the scheduler: {Terminal.printable reason}")
        }
