namespace FsScheduler.Core

/// A payload is worked on in pieces: in place of their own stages workers run what they offer for pieces.
module internal Expansion =

    /// <summary>Stages as they are for pieces.</summary>
    /// <param name="isOffered">Whether a worker offers a stage of that name.</param>
    /// <param name="stages">The next one first.</param>
    /// <returns>The stages, and how many of them, from the first on, are run on pieces.</returns>
    let rec private expand
        (isOffered: string -> bool)
        (stages: Stage list)
        : struct (Stage list * int) =
        let onLines stage others =
            let struct (rest, count) = expand isOffered others
            struct (stage :: rest, count + 1)

        match stages with
        | [] -> struct ([], 0)
        | stage :: others ->
            let tryForm form = Stage.tryForm isOffered form stage

            match stage.kind with
            | PerLine -> onLines stage others
            // The results of its pieces are merged, and what comes next runs on that.
            | Aggregating -> struct (stages, 1)
            | WholeFile ->
                match tryForm Stage.linesForm with
                | ValueSome lines -> onLines lines others
                | ValueNone ->
                    match tryForm Stage.partForm, tryForm Stage.mergeForm with
                    | ValueSome part, ValueSome merge -> struct (part :: merge :: others, 1)
                    | _ -> struct (stages, 0)

    /// <summary>The pipeline of a task as it is for pieces, from its next stage on.</summary>
    /// <param name="state">Knows what workers offer now.</param>
    /// <param name="task">Any.</param>
    /// <returns>The pipeline, the very same where nothing is different, and where those of its stages end that can be run
    /// on pieces: at the next one, where there are none.</returns>
    let find (state: State) (task: Task) : struct (Pipeline * int) =
        let pipeline = task.Pipeline
        let before, next = Array.splitAt task.Stage pipeline.stages

        let expandWith isOffered =
            let struct (rest, count) = expand isOffered (List.ofArray next)
            let stages = Array.append before (Array.ofList rest)
            struct ({ stages = stages; wire = Array.map Stage.toWire stages }, task.Stage + count)

        let struct (expanded, last) = expandWith state.Workers.Offers

        if expanded = pipeline then
            struct (pipeline, last)
        elif Pipeline.isAllowed expanded then
            struct (expanded, last)
        else
            let struct (_, last) = expandWith (fun _ -> false)
            struct (pipeline, last)

    /// Gives a task, in no queue, that pipeline for good: also where its pieces come to nothing.
    let apply (state: State) (task: Task) (pipeline: Pipeline) =
        state.Unload task
        task.Pipeline <- pipeline
        state.Backlog.Add task
