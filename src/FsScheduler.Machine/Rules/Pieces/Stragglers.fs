namespace FsScheduler.Machine

open FsScheduler.Core

/// Speculation on stragglers: when most pieces of a payload are finished and one takes much longer, a second worker
/// runs it too. The first part wins, and the other task is cancelled; both would give the same result.
module internal Stragglers =

    /// An idle worker, other than the slow one, that can run the first stage of a piece.
    let private helper (state: State) (piece: Task) (slow: Worker) : Worker | null =
        // The helper begins with the first stage, however far the slow worker is.
        let stages = piece.Pipeline.stages |> Array.map _.demand
        let mutable found: Worker | null = null
        let mutable at = state.Workers.Idle.First

        while isNull found && not (isNull at) do
            let worker = nonNull at

            if
                isNull worker.Reserved
                && worker.Can stages[0]
                && not (obj.ReferenceEquals(worker, slow))
                && not (state.CircuitBreakers.IsHeldBack(worker, stages))
            then
                found <- worker

            at <- worker.Next

        found

    let private help (state: State) (whole: Task) index (piece: Task) (slow: Worker) =
        match helper state piece slow with
        | null -> ()
        | worker ->
            state.Record(Event.Speculated(whole.Id, index, piece.Id))
            let second = Split.submit state whole piece.Submission index
            Assign.assign state worker second

    let private lookAt (state: State) (whole: Task) (pieces: Pieces) (median: Duration) =
        let slow =
            max
                SchedulerLimits.speculateAfter
                (int64 (float median * state.Settings.speculate) * 1L<ms>)

        for index in 0 .. pieces.Count - 1 do
            match pieces.TasksOf index with
            | [ piece ] ->
                match piece.State with
                | TaskState.Running worker when state.Now - piece.Since >= slow ->
                    help state whole index piece worker
                | _ -> ()
            | _ -> ()

    /// Gives stragglers to idle workers.
    let run (state: State) =
        if state.Settings.speculate > 0.0 && state.Workers.Idle.Count > 0 then
            for whole in Seq.toArray state.Splits.Values do
                match whole.Pieces with
                | null -> ()
                | pieces when pieces.Missing > 0 && 2 * pieces.Missing <= pieces.Count ->
                    match pieces.Median with
                    | ValueSome median -> lookAt state whole pieces median
                    | ValueNone -> ()
                | _ -> ()
