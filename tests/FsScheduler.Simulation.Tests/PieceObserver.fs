namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine

/// Looks at what the machine does with payloads in pieces, and raises a violation at the first thing that may not be.
[<Sealed>]
type PieceObserver(scene: SimulationContext, spool: Spool, ledger: TaskAudit) =
    let dropped = List<TaskRecord>() // pieces that were cancelled in this step
    let mutable speculated = ValueNone // a piece that is to have a second task, and who is slow with it
    let mutable helper = ValueNone // the second task, and who it is not for

    let isMerged (task: TaskRecord) (pieces: PieceRecord) =
        Array.last pieces.Stages = task.Pipeline.wire[pieces.Last - 1]
        && task.Pipeline.stages[pieces.Last - 1].kind = Aggregating

    /// What is run on pieces in place of a task's own stages, as far as there are others.
    let checkOthers (task: TaskRecord) last (stages: string[]) =
        let own = task.Pipeline.wire[task.Stage .. last - 1]
        let attempt = { task = task.Id; number = task.Attempt }

        let run (stages: string[]) =
            Content.plain (Content.run stages attempt task.Content)

        let isPart = (Array.last stages).EndsWith Stage.partForm

        let whole =
            if isPart then
                Array.append stages [| Array.last own + Stage.mergeForm |]
            else
                stages

        let text = String.concat " | "

        must
            (stages.Length = own.Length && stages <> own && run whole = run own)
            $"'{text stages}' is to be run on the pieces of task {task.Id}, in place of '{text own}'"

        for stage in stages do
            must
                (Array.contains stage own
                 || ledger.Sessions.Values
                    |> Seq.exists (fun worker ->
                        not worker.IsGone && Array.contains stage worker.Stages))
                $"nobody offers the stage {stage} for the pieces of task {task.Id}"

        scene.coverage.Count(
            if isPart then
                "seen: pieces of a stage that aggregates"
            else
                "seen: pieces by lines"
        )

    /// A step begins.
    member _.Begin() =
        ledger.Touched.Clear()
        dropped.Clear()
        speculated <- ValueNone
        helper <- ValueNone

    /// A piece was cancelled; whether that may be is looked at when the step is over.
    member _.Drop(piece: TaskRecord) = dropped.Add piece

    /// A task was given to a worker.
    member _.Assigned(id: TaskId, session: SessionId) =
        match helper with
        | ValueSome(struct (helping, slow)) when helping = id ->
            must (session <> slow) $"task {id} helps session {slow} and is given to it"
            helper <- ValueNone
        | _ -> ()

    /// What a piece is to be: a range of what its whole is at, for the stages that run on pieces.
    member _.Submitted(id, submission: Submission, pipeline: Pipeline, whole, index) =
        let task = ledger.Task whole
        ledger.Touched.Add whole |> ignore

        must
            (task.IsSplit && task.Ending.IsNone)
            $"task {id} is a piece of task {whole}, which is not split"

        match task.Pieces with
        | ValueNone -> violation $"task {id} is a piece of task {whole}, which has none"
        | ValueSome pieces ->
            let start = pieces.StartOf index

            must
                (submission.Payload = Slice(task.Payload, start, pieces.Cuts[index] - start)
                 && submission.Name = task.Submission.Name
                 && submission.Priority = task.Submission.Priority
                 && pipeline.wire = pieces.Stages)
                $"task {id} is not the piece {index} of task {whole}"

            must
                pieces.Parts[index].IsNone
                $"piece {index} of task {whole} is there, and is done again"

            match speculated, Seq.toList pieces.Tasks[index] with
            | ValueNone, [] -> ()
            | ValueSome(struct (of', slowIndex, slow)), [ one ] when
                of' = whole && slowIndex = index && slow = one
                ->
                speculated <- ValueNone
                helper <- ValueSome struct (id, (ledger.Task slow).Session)
            | _, others ->
                violation
                    $"piece {index} of task {whole} has {others.Length} tasks, and gets task {id}"

            pieces.Tasks[index].Add id |> ignore

    /// The parts that count, put together: what the stages make of the whole, whoever runs them.
    member _.Joined(task: TaskRecord, pieces: PieceRecord) : string =
        scene.coverage.Count(
            if isMerged task pieces then
                "seen: parts merged"
            else
                "seen: parts in a row"
        )

        let stages = pieces.Stages
        let joined = Content.join (isMerged task pieces) pieces.Contents

        let whole =
            Content.run stages { task = task.Id; number = task.Attempt } task.Content

        must
            (Content.plain joined = Content.plain whole)
            $"the parts of task {task.Id} give '{joined}' where '{whole}' was due"

        joined

    /// Whether somebody is there for each stage of its pieces that is not its own.
    member _.IsRunnable(task: TaskRecord) : bool =
        match task.Pieces with
        | ValueNone -> true
        | ValueSome pieces ->
            let own = task.Pipeline.wire[task.Stage .. pieces.Last - 1]

            pieces.Stages
            |> Array.except own
            |> Array.forall (fun stage ->
                ledger.Sessions.Values
                |> Seq.exists (fun worker ->
                    not worker.IsGone && worker.Slots > 0 && Array.contains stage worker.Stages))

    /// It is known where the pieces end, or they are gone about once more.
    member _.Split(input, attempt: Attempt, last, others: Pipeline voption, cuts: Size[]) =
        let task = ledger.Task attempt.task

        let stages =
            match others with
            | ValueSome pipeline -> pipeline.wire
            | ValueNone -> task.Pipeline.wire[task.Stage .. last - 1]

        ledger.Touched.Add task.Id |> ignore

        must
            (task.Ending.IsNone && not task.IsRunning && not task.IsSplit)
            $"task {task.Id} is split"

        must (attempt.number = task.Attempt + 1) $"attempt {attempt.number} of task {task.Id}"
        must task.Whole.IsNone $"task {task.Id} is a piece, and is split"

        match task.Pieces with
        | ValueSome pieces ->
            must
                (pieces.Cuts = cuts && pieces.Last = last && pieces.Stages = stages)
                $"task {task.Id} is split in another way"

            if pieces.Parts |> Array.exists _.IsSome then
                scene.coverage.Count "seen: goes on with the parts that are there"
        | ValueNone ->
            must
                (match input with
                 | Input.Cut(cut, given) ->
                     task.IsCutting
                     && cut.task = task.Id
                     && cut.number = task.Attempt
                     && given = cuts
                 | _ -> false)
                $"task {task.Id} is split by {input}"

            let kinds = [
                for own, stage in Array.zip task.Pipeline.stages[task.Stage .. last - 1] stages ->
                    if stage.EndsWith Stage.linesForm then PerLine
                    elif stage.EndsWith Stage.partForm then Aggregating
                    else own.kind
            ]

            must
                (last > task.Stage
                 && List.forall
                     (fun (kind: StageKind) -> kind = PerLine)
                     (List.take (kinds.Length - 1) kinds)
                 && List.last kinds <> WholeFile)
                $"stages {task.Stage} to {last - 1} of task {task.Id} do not run on pieces"

            if others.IsSome then
                checkOthers task last stages

            if task.Stage > 0 then
                scene.coverage.Count "seen: split at a later stage"

            task.Pieces <- ValueSome(PieceRecord(cuts, last, stages))

        task.IsCutting <- false
        task.IsSplit <- true
        task.Attempt <- attempt.number

    member _.Part(input, whole, index, part: KeptContent) =
        let task = ledger.Task whole
        ledger.Touched.Add whole |> ignore

        match input, task.Pieces, part with
        | Input.Report(session, reported, Succeeded, given), ValueSome pieces, Held content when
            task.IsSplit
            ->
            let piece = ledger.Task reported.task

            must
                (ledger.IsCurrent
                 && obj.ReferenceEquals(given, content)
                 && session = piece.Session)
                $"the part {index} of task {whole} is by {reported}, which does not count"

            must
                (piece.Whole = ValueSome struct (whole, index)
                 && pieces.Tasks[index].Contains piece.Id)
                $"the part {index} of task {whole} is by task {piece.Id}, which is to do another"

            must pieces.Parts[index].IsNone $"there are two parts {index} of task {whole}"
            pieces.Parts[index] <- ValueSome(Kept part)
            pieces.Contents[index] <- spool.Result content

            if pieces.Tasks[index].Count > 1 then
                scene.coverage.Count(
                    if piece.Id = Seq.max pieces.Tasks[index] then
                        "seen: the helper was faster"
                    else
                        "seen: the straggler was faster"
                )
        | _ -> violation $"part {index} of task {whole} by {input}"

    member _.Speculate(whole, index, slow) =
        let task = ledger.Task whole
        let piece = ledger.Task slow
        must (scene.climate.speculate > 0.0) $"nobody wants speculation"

        must
            (piece.IsRunning && piece.Whole = ValueSome struct (whole, index))
            $"task {slow} is helped and does not run"

        match task.Pieces with
        | ValueSome pieces ->
            let missing = pieces.Parts |> Seq.filter _.IsNone |> Seq.length

            must
                (2 * missing <= pieces.Cuts.Length)
                $"task {whole} is helped, and misses {missing} pieces"
        | ValueNone -> violation $"task {whole} is helped and has no pieces"

        speculated <- ValueSome struct (whole, index, slow)

    /// Whether its next stage needs all of it, now that some workers may have left.
    member _.NeedsWhole(task: TaskRecord) =
        let stage = task.Pipeline.stages[task.Stage]

        let isOffered form =
            ledger.Sessions.Values
            |> Seq.exists (fun worker ->
                not worker.IsGone && worker.Slots > 0 && Array.contains form worker.Stages)

        let forms = Content.formsOf stage.name
        stage.kind = WholeFile && (forms.IsEmpty || not (List.forall isOffered forms))

    /// What the machine asks the host for.
    member observer.Asked effect =
        match effect with
        | Effect.ToPieces(PieceEffect.Cut(attempt, submission, payload, pieceSize)) ->
            let task = ledger.Task attempt.task
            must (task.Ending.IsNone && not task.IsRunning) $"task {task.Id} is cut"
            must (not task.IsPublishing && not task.IsQuarantined) $"task {task.Id} is cut"

            must
                (not task.IsSplit && (task.Pieces.IsNone || not (observer.IsRunnable task)))
                $"task {task.Id} is cut while it is split"

            task.Pieces <- ValueNone // parts that nobody can complete any more
            must task.Whole.IsNone $"task {task.Id} is a piece, and is cut"

            must
                (scene.Now.sinceStart >= task.NotBefore.sinceStart)
                $"task {task.Id} is cut too soon"

            must
                (attempt.number = task.Attempt
                 && submission = task.Submission
                 && payload = task.Payload
                 && pieceSize >= scene.climate.split
                 && Content.sizeOf task.Content > scene.climate.split)
                $"what is cut of task {task.Id} is not what it is at"

            task.IsCutting <- true
        | Effect.ToPieces(PieceEffect.MergeParts(attempt, merge, parts)) ->
            let task = ledger.Task attempt.task
            must (attempt.number = task.Attempt && task.IsSplit) $"task {task.Id} is joined"

            match task.Pieces with
            | ValueSome pieces ->
                must
                    (pieces.IsWhole && Array.map ValueOption.get pieces.Parts = Array.map Kept parts)
                    $"what is joined for task {task.Id} are not its parts"

                let last = task.Pipeline.stages[pieces.Last - 1]

                must
                    (merge = (if isMerged task pieces then ValueSome last else ValueNone))
                    $"the parts of task {task.Id} are merged wrongly"
            | ValueNone -> violation $"task {task.Id} is joined and has no pieces"

            task.Joining <- attempt.number
            task.Gathered <- 0
        | Effect.ToPieces(PieceEffect.PrefetchPart(attempt, index, part)) ->
            let task = ledger.Task attempt.task
            must (attempt.number = task.Attempt && task.IsSplit) $"task {task.Id} is gathered"
            must (index = task.Gathered) $"part {index} of task {task.Id} is not the next one"

            must
                (task.Pieces.Value.Parts[index] = ValueSome(Kept part))
                $"what is gathered for task {task.Id} is not its part {index}"

            task.Gathered <- index + 1
            scene.coverage.Count "seen: a part ahead of the last"
        | Effect.ToPieces(PieceEffect.DropPrefetch attempt) ->
            let task = ledger.Task attempt.task

            // It may be given out again in the same step.
            must
                (attempt.number <= task.Attempt && task.Gathered > 0)
                $"task {task.Id} is abandoned, and nothing is gathered"

            task.Gathered <- 0
            scene.coverage.Count "seen: what was gathered is abandoned"
        | _ -> ()

    /// Every piece that is missing has who does it, and nobody else has a piece.
    member _.End() =
        for id in ledger.Touched do
            let task = ledger.Task id

            match task.Pieces with
            | ValueSome pieces ->
                for index in 0 .. pieces.Cuts.Length - 1 do
                    let count = pieces.Tasks[index].Count
                    let isMissing = task.IsSplit && pieces.Parts[index].IsNone

                    must
                        (if isMissing then count = 1 || count = 2 else count = 0)
                        $"piece {index} of task {id} has {count} tasks"

                must
                    (not task.IsSplit || not pieces.IsWhole || task.Joining = task.Attempt)
                    $"the parts of task {id} are there, and are not joined"

                let isAhead = task.IsSplit && not pieces.IsWhole && not (isMerged task pieces)

                must
                    (task.Gathered =
                        (if isAhead then
                             pieces.Parts |> Seq.takeWhile _.IsSome |> Seq.length
                         else
                             0))
                    $"{task.Gathered} parts of task {id} are gathered"
            | ValueNone -> must (task.Gathered = 0) $"task {id} is gathered, and has no pieces"

        for piece in dropped do
            match piece.Whole with
            | ValueSome(struct (whole, index)) ->
                let task = ledger.Task whole

                match task.Pieces with
                | ValueSome pieces when task.IsSplit ->
                    must
                        (pieces.Parts[index].IsSome || piece.IsQuarantined)
                        $"task {piece.Id} is cancelled, and its piece is missing"
                | _ -> ()
            | ValueNone -> ()

        must speculated.IsNone $"a piece was to have a second task"
