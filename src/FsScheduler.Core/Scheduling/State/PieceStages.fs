namespace FsScheduler.Core

/// A payload is worked on in pieces: in place of their own stages workers run what they offer for pieces.
module internal PieceStages =

    /// The stages of pieces, from the first on as far as they can be run on pieces.
    let rec private expand (isOffered: Stage -> bool) (stages: Stage list) : Stage list =
        match stages with
        | [] -> []
        | stage :: others ->
            let tryForm form =
                match Stage.tryForm form stage with
                | ValueSome other when isOffered other -> ValueSome other
                | _ -> ValueNone

            match stage.kind with
            | PerLine -> stage :: expand isOffered others
            // The results of its pieces are merged, and what comes next runs on that.
            | Aggregating -> [ stage ]
            | WholeFile ->
                match tryForm Stage.linesForm with
                | ValueSome lines -> lines :: expand isOffered others
                | ValueNone ->
                    match tryForm Stage.partForm, tryForm Stage.mergeForm with
                    | ValueSome part, ValueSome _ -> [ part ]
                    | _ -> []

    let private isRun (state: State) (stage: Stage) = state.Workers.Run stage.demand

    /// <summary>What would be run on the pieces of a task's payload, as workers are now.</summary>
    /// <returns>As many stages as it stands for of the task's, from its next one on; none: it cannot be cut.</returns>
    let find (state: State) (task: Task) : Pipeline voption =
        let next = List.ofArray task.Pipeline.stages[task.Stage ..]
        let stages = expand (isRun state) next

        let allowed =
            [ stages; expand (fun _ -> false) next ]
            |> List.map (Array.ofList >> Pipeline.ofStages)
            |> List.tryFind Pipeline.isAllowed

        match allowed with
        | Some pipeline when pipeline.stages.Length > 0 -> ValueSome pipeline
        | _ -> ValueNone

    /// Whether somebody runs each stage of pieces that is not the task's own: those that are may come at any time.
    let isRunnable (state: State) (whole: Task) (pieces: Pieces) =
        let own = whole.Pipeline.stages[whole.Stage .. pieces.Last - 1]
        Array.forall2 (fun own stage -> own = stage || isRun state stage) own pieces.Pipeline.stages

    /// What makes the result of the parts, if they are those of a worker's own stage that aggregates.
    let private mergeOf (whole: Task) (last: int) (pipeline: Pipeline) : Stage voption =
        let own = whole.Pipeline.stages[last - 1]

        if (Array.last pipeline.stages).name = own.name + Stage.partForm then
            Stage.tryForm Stage.mergeForm own
        else
            ValueNone

    /// <summary>The pieces of a task's payload.</summary>
    /// <param name="whole">The task.</param>
    /// <param name="cuts">Where each ends.</param>
    /// <param name="last">Its stages that are run on them end before this index.</param>
    /// <param name="pipeline">What is run in place of those.</param>
    let pieces (whole: Task) (cuts: Size[]) (last: int) (pipeline: Pipeline) : Pieces =
        let downstream: string[] | null =
            if whole.IsResult then
                null
            else
                [|
                    yield! ValueOption.toArray (mergeOf whole last pipeline)
                    yield! whole.Pipeline.stages[last..]
                |]
                |> Array.map _.demand

        Pieces(cuts, last, pipeline, downstream)

    /// <summary>The parts are there, one behind the other, and what comes next runs on that.</summary>
    /// <param name="whole">The task.</param>
    /// <param name="pieces">Its.</param>
    /// <returns>The index of the stage that comes next in `merging`.</returns>
    let next (whole: Task) (pieces: Pieces) : int =
        match mergeOf whole pieces.Last pieces.Pipeline with
        | ValueNone -> pieces.Last
        | ValueSome _ -> pieces.Last - 1

    /// What the pipeline of a task is from when its parts are there: where a worker's own stage aggregates, what merges them
    /// takes its place for good.
    let merging (whole: Task) (pieces: Pieces) : Pipeline =
        match mergeOf whole pieces.Last pieces.Pipeline with
        | ValueNone -> whole.Pipeline
        | ValueSome merge ->
            whole.Pipeline.stages
            |> Array.updateAt (pieces.Last - 1) merge
            |> Pipeline.ofStages
