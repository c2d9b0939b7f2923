namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine

/// An account of every task, kept from inputs and events alone: the machine is asked nothing.
[<Sealed>]
type TaskAudit() =
    let tasks = Dictionary<TaskId, TaskRecord>()
    let sessions = Dictionary<SessionId, SessionRecord>()
    let touched = HashSet<TaskId>()

    member _.Tasks = tasks
    member _.Sessions = sessions

    /// Those worked on in pieces, of this step.
    member _.Touched = touched

    /// Whether the input is a report of a current attempt.
    member val IsCurrent = false with get, set

    member _.Task id =
        match tasks.TryGetValue id with
        | true, task -> task
        | _ -> violation $"task {id} was never submitted"

    member _.Session id =
        match sessions.TryGetValue id with
        | true, session -> session
        | _ -> violation $"session {id} is no worker's"

    /// Nobody runs it any more.
    member _.Free(task: TaskRecord) =
        if task.IsRunning then
            task.IsRunning <- false

            match sessions.TryGetValue task.Session with
            | true, session -> session.Held.Remove task.Id |> ignore
            | _ -> ()

    /// Whether there is a newer version of the same file: an older one gives way to it, at once or when it is not under way
    /// any more.
    member _.HasNewer(older: TaskRecord) =
        older.Submission.Origin = Origin.Folder
        && tasks.Values
           |> Seq.exists (fun task ->
               task.Id > older.Id
               && task.Submission.Origin = Origin.Folder
               && task.Submission.Name = older.Submission.Name)

    /// It is no longer cut, nor waiting for its parts. What there is of them it keeps.
    member _.Unsplit(task: TaskRecord) =
        if task.IsSplit || task.IsCutting then
            touched.Add task.Id |> ignore

        task.IsSplit <- false
        task.IsCutting <- false

    /// A piece has come to its end.
    member ledger.LeaveWhole(piece: TaskRecord) =
        match piece.Whole with
        | ValueSome(struct (whole, index)) ->
            touched.Add whole |> ignore

            match (ledger.Task whole).Pieces with
            | ValueSome pieces -> pieces.Tasks[index].Remove piece.Id |> ignore
            | ValueNone -> ()
        | ValueNone -> ()

    /// Whether one is a piece of another.
    member _.IsOf(whole: TaskId, id: TaskId) =
        match tasks.TryGetValue id with
        | true, task ->
            match task.Whole with
            | ValueSome(struct (of', _)) -> of' = whole
            | ValueNone -> false
        | _ -> false
