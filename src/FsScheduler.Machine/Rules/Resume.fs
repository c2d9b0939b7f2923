namespace FsScheduler.Machine

open System
open System.Collections.Generic
open FsScheduler.Core

/// Resumes the scheduler after the events of earlier runs were applied.
module internal Resume =

    /// Expects the workers with tasks back, within the time that a silent worker has.
    let private expectBack (state: State) =
        state.Workers.Forgive(fun _ -> state.Now)

        for worker in state.Workers.All |> Seq.sortBy _.Session |> Seq.toArray do
            if worker.Held.Count = 0 then
                let reason = "the scheduler was started again"
                state.Record(Event.Left(worker.Session, worker.Name, reason))
                // Else the first worker to come back would be given tasks that it has failed.
                state.Workers.Expect(worker, state.Now)

    /// Requeues tasks that were publishing, unless their results were found.
    let private publishAgain (state: State) (found: IReadOnlyDictionary<Attempt, ContentHash>) =
        let publishing =
            state.Tasks.ToSeq()
            |> Seq.filter (fun task -> task.State = TaskState.Publishing)
            |> Seq.toArray

        for task in Array.rev publishing do
            let attempt = state.AttemptOf task

            if found.ContainsKey attempt then
                state.Ask(
                    Effect.ToDisk(
                        DiskEffect.ConfirmPublished(attempt, task.Submission, found[attempt])
                    )
                )
            elif not (Finish.giveWay state task) then
                let error = "the scheduler was started again while its result was being published"
                let failure = state.NewFailure(task, WorkerLeft, "", error)
                state.Record(Event.Requeued(task.Id, failure))

    /// A task that was about to be cut is queued again, where a version that a newer one waits for has no place.
    let private giveWayAgain (state: State) =
        for older in Seq.toArray state.Successors.Keys |> Seq.sort do
            match state.Tasks.Find older with
            | null -> ()
            | task when task.State = TaskState.Publishing || task.IsUnderWay -> ()
            | task -> Finish.giveWay state task |> ignore

    let run
        (state: State)
        (owner: Guid)
        (found: IReadOnlyDictionary<Attempt, ContentHash>)
        (lost: PartFile[])
        =
        state.Record(Event.Opened owner)

        for part in lost do
            state.Record(Event.PartLost(part.whole, part.index))

        state.DiscardReleased()
        state.Marks.Clear()
        Replies.evict state
        expectBack state
        publishAgain state found
        giveWayAgain state

        for whole in Seq.toArray state.Splits.Values do
            Split.resume state whole
