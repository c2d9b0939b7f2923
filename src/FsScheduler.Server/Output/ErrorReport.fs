namespace FsScheduler.Server

open System
open System.Text
open FsScheduler.Core
open FsScheduler.Platform

/// What `NAME.err` says.
module ErrorReport =

    /// <summary>Why there is no result: the task, and each thing that went wrong with it, for a person.</summary>
    /// <param name="dateOf">The date of a moment of the machine's clock.</param>
    /// <param name="task">The task in quarantine.</param>
    /// <param name="name">Its name.</param>
    /// <param name="failures">Oldest first, at least one.</param>
    let write
        (dateOf: Instant -> DateTimeOffset)
        (task: TaskId)
        (name: string)
        (failures: Failure list)
        =
        let text = StringBuilder()
        let last = List.last failures

        text
            .Append($"{name}: in quarantine as task {task}, after attempt {last.attempt}\n")
            .Append($"stage:    {last.stages}\n")
            .Append($"error:    {last.error}\n\n")
        |> ignore

        for failure in failures do
            let worker =
                if failure.worker = "" then
                    "the scheduler"
                else
                    $"worker {failure.worker}"

            text
                .Append(
                    $"attempt {failure.attempt}, {dateOf failure.at:``yyyy-MM-dd HH:mm:ss.fff zzz``}, {worker}, "
                )
                .Append($"stage {failure.stages}\n    {failure.error}\n")
            |> ignore

        // Programs wrote the errors: they are to be read in a terminal, and not to work there.
        Terminal.printableLines (string text)
