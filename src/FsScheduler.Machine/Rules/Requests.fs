namespace FsScheduler.Machine

open FsScheduler.Core

/// Requests of clients about tasks and workers.
module internal Requests =

    let private unknown (state: State) session (id: TaskId) =
        Replies.error state session $"task {id} is not known: it never was, or it is finished"

    let cancel (state: State) (id: TaskId) by =
        match state.Tasks.Find id with
        | null -> unknown state by id
        | task when task.State = TaskState.Publishing ->
            Replies.error state by $"task {id} is being published: too late to cancel it"
        | task -> Finish.cancel state (Finish.wholeOf state task) "cancelled"

    let retry (state: State) (id: TaskId) by =
        match state.Tasks.Find id with
        | null -> unknown state by id
        | task when task.State = TaskState.Quarantined -> Fail.retry state task
        | _ -> Replies.error state by $"task {id} is not in quarantine"

    let retryWith (state: State) (id: TaskId) pipeline by =
        match state.Tasks.Find id with
        | null -> unknown state by id
        | task when task.State = TaskState.Quarantined -> Submit.retryWith state task pipeline by
        | _ -> Replies.error state by $"task {id} is not in quarantine"

    let private everyQuarantined (state: State) by (again: Task -> unit) =
        let quarantined =
            state.Tasks.ToSeq()
            |> Seq.filter (fun task -> task.State = TaskState.Quarantined)
            |> Seq.toArray

        if quarantined.Length = 0 then
            Replies.error state by "no task is in quarantine"

        Array.iter again quarantined

    let retryAll (state: State) by =
        everyQuarantined state by (Fail.retry state)

    let retryAllWith (state: State) pipeline by =
        everyQuarantined state by (fun task -> Submit.retryWith state task pipeline by)

    let drain (state: State) (name: string) by =
        let named =
            state.Workers.All
            |> Seq.filter (fun worker ->
                not worker.IsAbsent && (worker.Name = name || string worker.Session = name))
            |> Seq.sortBy _.Session
            |> Seq.toArray

        if named.Length = 0 then
            Replies.error state by $"there is no worker '{name}'"

        for worker in named do
            state.Workers.Dismiss worker
            HoldingBack.reopen state
            state.Ask(Effect.ToPeer(PeerEffect.Dismiss worker.Session))
