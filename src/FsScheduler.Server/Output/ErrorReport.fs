namespace FsScheduler.Server

open System
open System.Text
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform

/// The text of `NAME.err`.
module ErrorReport =

    /// <summary>Tells a person why there is no result: the task, and each of its failures.</summary>
    /// <param name="dateOf">The date of an instant of the machine's clock.</param>
    /// <param name="task">The task in quarantine.</param>
    /// <param name="name">The name of the task.</param>
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

        // Programs wrote the errors: control sequences in them must not act on a terminal.
        Terminal.printableLines (string text)
