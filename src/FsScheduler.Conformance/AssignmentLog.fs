namespace FsScheduler.Conformance

open System.Collections.Generic
open FsScheduler.Core

/// What has been given to the worker of a row, and what has come of it. Safe for use by any thread.
[<Sealed>]
type AssignmentLog() =
    let open' = HashSet<Attempt>()
    let answered = HashSet<Attempt>()
    let dropped = HashSet<Attempt>()
    let mutable tasks = 0L

    let name (attempt: Attempt) =
        $"task {attempt.task}, attempt {attempt.number}"

    /// A task that is new, in its first attempt.
    member _.New() : Attempt =
        lock open' (fun () ->
            tasks <- tasks + 1L
            { task = tasks * 1L<taskId>; number = 1 })

    member _.Give(attempt: Attempt) =
        lock open' (fun () -> open'.Add attempt |> ignore)

    /// Attempts that were given and not answered.
    member _.Open = lock open' (fun () -> List.ofSeq open')

    /// The connection is gone: but for those that the worker may keep, nothing of it may be answered any more.
    member _.Drop(keep: Attempt[]) =
        lock open' (fun () ->
            dropped.UnionWith open'
            dropped.ExceptWith keep
            open'.IntersectWith keep)

    /// Takes a RESULT for it: what is wrong with that, as what was expected and what was seen.
    member _.Answer(attempt: Attempt) : (string * string) option =
        lock open' (fun () ->
            if open'.Remove attempt then
                answered.Add attempt |> ignore
                None
            elif answered.Contains attempt then
                Some("one RESULT for each PROCESS", $"a second one for {name attempt}")
            elif dropped.Contains attempt then
                Some(
                    "nothing more of what was given over a connection that is lost, and is not in 'keep'",
                    $"a RESULT for {name attempt}"
                )
            else
                Some(
                    "'task' and 'attempt' of a RESULT as they came with the PROCESS",
                    $"a RESULT for {name attempt}, which was not given"
                ))
