namespace FsScheduler.Conformance

open System.Collections.Generic
open FsScheduler.Core

/// The attempts assigned to the worker of a check, and its answers. For any thread.
[<Sealed>]
type AssignmentLog() =
    let given = HashSet<Attempt>()
    let answered = HashSet<Attempt>()
    let dropped = HashSet<Attempt>()
    let mutable tasks = 0L

    let name (attempt: Attempt) =
        $"task {attempt.task}, attempt {attempt.number}"

    member _.NewAttempt() : Attempt =
        lock given (fun () ->
            tasks <- tasks + 1L
            { task = tasks * 1L<taskId>; number = 1 })

    member _.Add(attempt: Attempt) =
        lock given (fun () -> given.Add attempt |> ignore)

    /// Attempts without an answer.
    member _.Open = lock given (fun () -> List.ofSeq given)

    /// Ends a connection: only attempts that the worker may keep may still be answered.
    member _.Drop(keep: Attempt[]) =
        lock given (fun () ->
            dropped.UnionWith given
            dropped.ExceptWith keep
            given.IntersectWith keep)

    /// Takes the answer to an attempt. None: the answer is right; otherwise what was expected, and what was seen.
    member _.Answer(attempt: Attempt) : (string * string) option =
        lock given (fun () ->
            if given.Remove attempt then
                answered.Add attempt |> ignore
                None
            elif answered.Contains attempt then
                Some("one RESULT for each PROCESS", $"a second one for {name attempt}")
            elif dropped.Contains attempt then
                Some(
                    "no RESULT for an attempt of a lost connection that is not in 'keep'",
                    $"a RESULT for {name attempt}"
                )
            else
                Some(
                    "'task' and 'attempt' of a RESULT as they came with the PROCESS",
                    $"a RESULT for {name attempt}, which was not given"
                ))
