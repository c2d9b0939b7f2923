namespace FsScheduler.Scheduler

open System.Threading
open FsScheduler.Platform
open FsScheduler.Sdk

/// Tasks in quarantine, as `retry --all` finds them.
type Quarantined = {
    count: int64
    /// The numbers and names of the first tasks.
    shown: (int64 * string) list
} with

    /// How many tasks are tried again, and which.
    member found.Sentence =
        let names =
            found.shown
            |> List.map (fun (task, name) -> $"{task} '{Terminal.printable name}'")
            |> String.concat ", "

        let more =
            match found.count - int64 found.shown.Length with
            | 0L -> ""
            | more -> $" and {more} more"

        match found.count with
        | 0L -> "no task is in quarantine"
        | 1L -> $"1 task is tried again: {names}"
        | count -> $"{count} tasks are tried again: {names}{more}"

module Quarantine =

    /// Further tasks are counted only.
    let private shownMax = 20

    /// <summary>Finds the tasks in quarantine, page by page.</summary>
    /// <exception cref="T:FsScheduler.Sdk.SchedulerException">The scheduler does not answer, or does not list tasks.</exception>
    let find (client: SchedulerClient) (ct: CancellationToken) =
        task {
            let mutable found = { count = 0L; shown = [] }
            let mutable after = 0L
            let mutable goOn = true

            while goOn do
                let query = TaskQuery(States = [ "quarantined" ], After = after)
                let! page = client.ListAsync(query, ct)

                found <- {
                    count = found.count + int64 page.Tasks.Count
                    shown =
                        found.shown
                        @ (page.Tasks
                           |> Seq.truncate (shownMax - found.shown.Length)
                           |> Seq.map (fun task -> task.TaskId, task.Name)
                           |> List.ofSeq)
                }

                after <- page.Last
                goOn <- page.HasMore

            return found
        }
