namespace FsScheduler.Scheduler

open System
open Argu
open FsScheduler.Platform
open FsScheduler.Cli

/// What `submit` says of its files, on the outputs and in the job log.
module SubmitReport =

    let private tellJson (upload: Upload) ending =
        let task, result, error: int64 option * (string | null) * (string | null) =
            match ending with
            | Stored(id, path) -> Some id, path, null
            | TakenOver id -> Some id, null, null
            | Failed(id, error) -> id, null, error

        printfn
            "%s"
            (ClientCommand.json {|
                file = upload.file
                task = Option.toNullable task
                result = result
                error = error
            |})

    let private sentence (upload: Upload) ending =
        match ending with
        | Stored _ when upload.file = "-" -> None // its result is the output
        | Stored(id, path) -> Some $"{upload.file}: done by task {id}, {path}"
        | TakenOver id -> Some $"{upload.file}: accepted as task {id}"
        | Failed(Some id, error) -> Some $"{upload.file}: task {id} failed: {error}"
        | Failed(None, error) -> Some $"{upload.file}: refused: {error}"
        |> Option.map Terminal.printable

    /// Says how it goes: results on standard output, unless that is the result of `-`; the rest on standard error.
    let make
        (arguments: ParseResults<SubmitArguments>)
        (meter: Meter)
        (log: JobLog option)
        : IUploadReport =
        let isJson = arguments.Contains SubmitArguments.Json
        let isQuiet = arguments.Contains SubmitArguments.Quiet

        let isPiped = arguments.GetResult(SubmitArguments.Files, []) |> List.contains "-"

        let out (line: string) =
            if isPiped then eprintfn "%s" line else printfn "%s" line

        // A reason is told again once there was progress.
        let told = ref ""
        let ended = ref 0
        let endedThen = ref 0

        {
            new IUploadReport with
                member _.Accepted(upload, task) =
                    if arguments.Contains SubmitArguments.Verbose then
                        meter.Around(fun () ->
                            eprintfn
                                "%s: accepted as task %d"
                                (Terminal.printable upload.file)
                                task)

                member _.Ended(count, upload, ending, started, received, isCancelled) =
                    ended.Value <- count

                    meter.Around(fun () ->
                        if isJson then
                            tellJson upload ending
                        else
                            match sentence upload ending with
                            | Some line when ending.IsFailed -> eprintfn "%s" line
                            | Some line when not isQuiet -> out line
                            | _ -> ())

                    meter.Show count

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
                        | HaltMode.Soon -> "waited for"
                        | HaltMode.Now -> "cancelled"

                    meter.Around(fun () ->
                        eprintfn
                            $"fs-scheduler submit: stopping by --halt: {left} are not sent, {underway} are {what}")

                member _.Waiting(reason) =
                    if reason <> told.Value || ended.Value > endedThen.Value then
                        told.Value <- reason
                        endedThen.Value <- ended.Value

                        meter.Around(fun () ->
                            eprintfn $"waiting for the scheduler: {Terminal.printable reason}")
        }
