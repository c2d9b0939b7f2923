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
    /// <param name="troubles">Oldest first, at least one.</param>
    let write
        (dateOf: Instant -> DateTimeOffset)
        (task: TaskId)
        (name: string)
        (troubles: Trouble list)
        =
        let text = StringBuilder()
        let last = List.last troubles

        text
            .Append($"{name}: in quarantine as task {task}, after attempt {last.attempt}\n")
            .Append($"stage:    {last.stages}\n")
            .Append($"error:    {last.error}\n\n")
        |> ignore

        for trouble in troubles do
            let worker =
                if trouble.worker = "" then
                    "the scheduler"
                else
                    $"worker {trouble.worker}"

            text
                .Append(
                    $"attempt {trouble.attempt}, {dateOf trouble.at:``yyyy-MM-dd HH:mm:ss.fff zzz``}, {worker}, "
                )
                .Append($"stage {trouble.stages}\n    {trouble.error}\n")
            |> ignore

        // Programs wrote the errors: they are to be read in a terminal, and not to work there.
        Terminal.printableLines (string text)
