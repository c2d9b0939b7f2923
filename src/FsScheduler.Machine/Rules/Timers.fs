namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// The rules of time: silent workers, late attempts, retries, missing stages.
module internal Timers =

    let private forgive (state: State) (slept: Duration) =
        state.Workers.Forgive(fun since ->
            if state.Now - since < slept then
                state.Now
            else
                since + slept)

    let private giveUpLate (state: State) (worker: Worker) =
        let timeout = state.Settings.taskTimeout
        let mutable late = worker.Held.First

        while not (isNull late) && state.Now - (nonNull late).Since > timeout do
            let task = nonNull late
            state.Ask(Effect.ToPeer(PeerEffect.Revoke(worker.Session, state.AttemptOf task)))
            let error = $"not finished within {timeout} ms"
            Fail.fail state task (state.NewFailure(task, TaskError, worker.Name, error)) true
            late <- worker.Held.First

    /// Queues the waiting tasks whose time has come.
    let private wake (state: State) =
        let mutable due = state.TryTakeDue()

        while due.IsSome do
            state.Record(Event.Woken due.Value.Id)
            due <- state.TryTakeDue()

    /// Logs once that no worker offers a stage, if that lasts for `lostAfter`: workers may be on their way.
    let private lookForMissing (state: State) =
        let missing = Replies.missing state
        let named = HashSet(missing |> Seq.map (fun (struct (stage, _)) -> stage))

        for stage in Seq.toArray state.Missing.Keys do
            if not (named.Contains stage) then
                state.Missing.Remove stage |> ignore

        for struct (stage, waiting) in missing do
            match state.Missing.TryGetValue stage with
            | true, struct (since, false) when state.Now - since >= state.Settings.lostAfter ->
                state.Missing[stage] <- struct (since, true)
                state.Ask(Effect.ToLog(LogEffect.StageUnavailable(stage, waiting)))
            | true, _ -> ()
            | false, _ -> state.Missing[stage] <- struct (state.Now, false)

    /// The stage, if any, that pieces have waited for in vain for `lostAfter`, though a worker runs the stage of the
    /// whole that it stands for.
    let private unrunnable (state: State) (whole: Task) (pieces: Pieces) : string voption =
        pieces.Tasks
        |> Seq.tryFind (fun piece ->
            let own = whole.Pipeline.stages[whole.Stage + piece.Stage].demand

            match state.Missing.TryGetValue piece.Demand with
            | true, struct (since, _) ->
                state.Now - since >= state.Settings.lostAfter
                && own <> piece.Demand
                && state.Workers.Run own
            | false, _ -> false)
        |> function
            | Some piece -> ValueSome piece.Demand
            | None -> ValueNone

    let private putBackUnrunnable (state: State) =
        for whole in Seq.toArray state.Splits.Values do
            match whole.Pieces with
            | null -> ()
            | pieces ->
                match unrunnable state whole pieces with
                | ValueSome stage ->
                    Fail.putBack state whole $"nobody runs '{stage}' on its pieces any more"
                | ValueNone -> ()

    let tick (state: State) =
        let slept = state.Now - state.LastTick
        state.LastTick <- state.Now

        if slept > state.Settings.lostAfter / 2L then
            forgive state slept

        for worker in state.Workers.All |> Seq.sortBy _.Session |> Seq.toArray do
            let silence = state.Now - worker.LastHeard

            if silence > state.Settings.lostAfter then
                let reason =
                    if worker.IsAbsent then
                        "it did not come back after the scheduler was started again"
                    else
                        $"silent for {silence} ms"

                WorkerLoss.lose state worker reason
                state.Ask(Effect.ToPeer(PeerEffect.Disconnect(worker.Session, reason)))
            else
                giveUpLate state worker

        wake state
        HoldingBack.tick state

        if state.Settings.unableAfter < Settings.patient then
            Fail.giveUp state

        Stragglers.run state

        if state.Queues.Count + state.Queues.Suspects.Count > 0 || state.Missing.Count > 0 then
            lookForMissing state
            putBackUnrunnable state
