namespace FsScheduler.Machine

open FsScheduler.Core

/// Matches queued tasks with idle workers.
module internal Dispatch =

    /// Tasks that were lost twice with their worker run alone, so that a third loss tells the cause.
    let private serveSuspects (state: State) =
        for task in Seq.toArray (state.Queues.Suspects.ToSeq()) do
            match state.Workers.ReservedFor task with
            | null -> ()
            | worker ->
                if worker.Held.Count = 0 then
                    Assign.assign state worker task

    /// Serves the idle workers in turn, until none can run a queued task.
    let private serveIdle (state: State) =
        let idle = state.Workers.Idle
        let mutable unserved = 0

        while state.Queues.IsAnyOpen && unserved < idle.Count do
            let worker = nonNull idle.First
            idle.MoveToBack worker

            let next =
                match worker.Reserved with
                | null -> state.Queues.Next(worker, state.Now)
                | _ -> null

            match next with
            | null -> unserved <- unserved + 1
            | task ->
                Assign.assign state worker task
                unserved <- 0

        if unserved > 0 && state.Queues.IsAnyOpen then
            state.Queues.Close()

    let serve (state: State) =
        if state.Queues.Suspects.Count > 0 then
            serveSuspects state

        serveIdle state
