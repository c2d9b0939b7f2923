namespace FsScheduler.Scheduler

open System
open System.Text.Json
open System.Threading
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol

/// Tasks in quarantine, as `retry --all` finds them.
type Quarantined = {
    count: int64
    /// The first of them, with their names.
    shown: (TaskId * string) list
} with

    /// Says how many are tried again, and which.
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

    /// More of them are counted only.
    let private shownMax = 20

    let private readLine (line: string) =
        use document = JsonDocument.Parse line
        let root = document.RootElement

        root.GetProperty("task").GetInt64() * 1L<taskId>,
        nonNull (root.GetProperty("name").GetString())

    /// <summary>Those that are in quarantine now, page by page.</summary>
    /// <exception cref="T:FsScheduler.Protocol.Unreachable">The scheduler does not answer, or does not list tasks.</exception>
    let find (client: SchedulerClient) (ct: CancellationToken) =
        task {
            let mutable found = { count = 0L; shown = [] }
            let mutable after = 0L<taskId>
            let mutable goOn = true

            while goOn do
                let query: TaskQuery = {
                    after = after
                    most = 1_000
                    phases = [| Phase.Quarantined |]
                    name = None
                    stage = None
                }

                match! Remote.page client query ct with
                | Ok(struct (lines, last, more)) ->
                    found <- {
                        count = found.count + int64 lines.Length
                        shown =
                            found.shown
                            @ (lines
                               |> Seq.truncate (shownMax - found.shown.Length)
                               |> Seq.map readLine
                               |> List.ofSeq)
                    }

                    after <- last
                    goOn <- more
                | Error message -> raise (Unreachable message)

            return found
        }
