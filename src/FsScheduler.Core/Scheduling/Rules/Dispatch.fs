namespace FsScheduler.Core

/// Who runs what: the queued tasks and the idle workers are brought together.
module internal Dispatch =

    /// Those that were lost twice with their worker are run alone, so that a third loss tells whose fault it is.
    let private serveSuspects (state: State) =
        for task in Seq.toArray (state.Queues.Suspects.ToSeq()) do
            match state.Workers.ReservedFor task with
            | null -> ()
            | worker ->
                if worker.Held.Count = 0 then
                    Assign.assign state worker task

    /// The idle workers in turn, until no one of them can run anything that is queued.
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
