namespace FsScheduler.Machine

open FsScheduler.Core

/// The stages of pieces: in place of their own stages workers run the forms that they offer for pieces.
module internal PieceStages =

    /// The stages of a piece: from the first one on, as many as can run on pieces.
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
            // Aggregating: the results of the pieces are merged, and the next stage runs on the merged result.
            | Aggregating -> [ stage ]
            | WholeFile ->
                match tryForm Stage.linesForm with
                | ValueSome lines -> lines :: expand isOffered others
                | ValueNone ->
                    match tryForm Stage.partForm, tryForm Stage.mergeForm with
                    | ValueSome part, ValueSome _ -> [ part ]
                    | _ -> []

    let private isRun (state: State) (stage: Stage) = state.Workers.Run stage.demand

    /// <summary>The pipeline that would run on the pieces of a task's payload, with the present workers.</summary>
    /// <returns>A stage for each of the task's next stages that it replaces; none: the payload cannot be cut.</returns>
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

    /// Whether a worker runs each stage of the pieces that is not the task's own: for these a worker may always come.
    let isRunnable (state: State) (whole: Task) (pieces: Pieces) =
        let own = whole.Pipeline.stages[whole.Stage .. pieces.Last - 1]
        Array.forall2 (fun own stage -> own = stage || isRun state stage) own pieces.Pipeline.stages

    /// The stage that merges the parts, where they come from a worker's own aggregating stage.
    let private mergeOf (whole: Task) (last: int) (pipeline: Pipeline) : Stage voption =
        let own = whole.Pipeline.stages[last - 1]

        if (Array.last pipeline.stages).name = own.name + Stage.partForm then
            Stage.tryForm Stage.mergeForm own
        else
            ValueNone

    /// <summary>The pieces of a task's payload, without any part.</summary>
    /// <param name="whole">The task.</param>
    /// <param name="cuts">Where each piece ends, in bytes.</param>
    /// <param name="last">The stages that run on pieces end before this index.</param>
    /// <param name="pipeline">The stages that run in place of those.</param>
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

    /// <summary>The next stage of the task once its parts are concatenated.</summary>
    /// <param name="whole">The task.</param>
    /// <param name="pieces">The pieces of the task.</param>
    /// <returns>The index of the stage in `merging`.</returns>
    let next (whole: Task) (pieces: Pieces) : int =
        match mergeOf whole pieces.Last pieces.Pipeline with
        | ValueNone -> pieces.Last
        | ValueSome _ -> pieces.Last - 1

    /// The pipeline of a task once its parts have come: a merge stage replaces a worker's aggregating stage.
    let merging (whole: Task) (pieces: Pieces) : Pipeline =
        match mergeOf whole pieces.Last pieces.Pipeline with
        | ValueNone -> whole.Pipeline
        | ValueSome merge ->
            whole.Pipeline.stages
            |> Array.updateAt (pieces.Last - 1) merge
            |> Pipeline.ofStages
