/// Tasks that come, and those of them that are worked on in pieces.
module FsScheduler.Machine.Tests.SchedulerModelPieces

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Machine.Tests.SchedulerModelState

module Text = FsScheduler.Machine.Tests.SchedulerModelText

let partsOf (task: ModelTask) =
    match task.pieces with
    | Some pieces -> pieces.parts |> Map.toList |> List.map snd
    | None -> []

let discardAll payloads (model: Model) =
    List.fold (fun model payload -> discard payload model) model payloads

let tasksOf (whole: TaskId) index (model: Model) =
    model.tasks.Values
    |> Seq.filter (fun task -> task.submission.Origin = Piece(whole, index))
    |> Seq.sortByDescending _.id
    |> List.ofSeq

let private isIdle (whole: ModelTask) (pieces: ModelPieces) model index =
    not (pieces.parts.ContainsKey index) && (tasksOf whole.id index model).IsEmpty

let idlePieces (whole: ModelTask) (model: Model) =
    match whole.pieces with
    | Some pieces -> [ 0 .. pieces.Count - 1 ] |> List.filter (isIdle whole pieces model)
    | None -> []

/// The first stages of some that can be run on pieces: stages by line, and one whose results are merged.
let rec private cuttable stages =
    match stages with
    | "lower" :: rest -> "lower" :: cuttable rest
    | "sort" :: _ -> [ "sort" ]
    | _ -> []

let isToBeCut (task: ModelTask) (model: Model) =
    let isFile =
        match task.payload with
        | Input _
        | Kept(Held(Spooled _)) -> true
        | _ -> false

    isFile
    && task.where = Queued
    && not task.IsPiece
    && Payload.size task.payload > model.settings.split
    && not (cuttable task.Rest).IsEmpty

let withPieces pieces (task: ModelTask) (model: Model) =
    put { task with pieces = Some pieces } model

/// Asks for what can be done with the parts that are there, which is not asked for yet.
let rec joinParts (id: TaskId) (model: Model) : Model =
    let whole = model.tasks[id]
    let pieces = whole.pieces.Value
    let merge = pieces.stages |> List.last |> Some |> Option.filter ((=) "sort")

    match Map.tryFind pieces.gathered pieces.parts, merge with
    | _ when pieces.Missing = 0 ->
        model
        |> ask (Text.join whole.Current merge (partsOf whole))
        |> withPieces { pieces with gathered = 0 } whole
    | Some part, None ->
        model
        |> ask (Text.gather whole.Current pieces.gathered part)
        |> withPieces { pieces with gathered = pieces.gathered + 1 } whole
        |> joinParts id
    | _ -> model

let abandon (whole: ModelTask) (model: Model) =
    match whole.pieces with
    | Some pieces when pieces.gathered > 0 ->
        model
        |> ask (Text.abandon whole.Current)
        |> withPieces { pieces with gathered = 0 } whole
    | _ -> model

/// A new task. What would take more memory than there is for that is left to the journal.
let add id (submission: Submission) stages (model: Model) : ModelTask * Model =
    let model =
        { model with lastId = max model.lastId id }
        |> record (Text.submitted id submission stages)

    let held = model.tasks.Values |> Seq.sumBy _.submission.MemorySize

    let isLeft =
        match submission.Origin with
        | Origin.Client _ ->
            submission.Payload.IsPacked
            && held + submission.MemorySize > model.settings.memory
        | Folder
        | Piece _ -> false

    let submission = if isLeft then submission.ToJournaled() else submission

    {
        id = id
        submission = submission
        home = model.lastEvent
        stages = stages
        where = Queued
        since = model.now
        position = 0
        attempt = 0
        failures = 0
        losses = 0
        pastFailures = []
        failedBy = Set.empty
        stage = 0
        stageEnd = 0
        payload = submission.Payload
        isResult = false
        downstream = Some []
        pieces = None
    },
    model

let submitPiece (named: Submission) (whole: TaskId) index (model: Model) : Model =
    let pieces = model.tasks[whole].pieces.Value
    let slice = pieces.SliceOf(model.tasks[whole].payload, index)
    let submission = named.Piece(whole, index, slice)
    let piece, model = add (model.lastId + 1L<taskId>) submission pieces.stages model
    enqueue toBack { piece with downstream = pieces.downstream } model

/// Its pieces that have no part are tasks from now on.
let private launch (pieces: ModelPieces) (whole: ModelTask) (model: Model) : Model =
    let model = abandon whole model
    let attempt = { whole.Current with number = whole.attempt + 1 }
    let model = record (Text.split attempt pieces.last pieces.cuts) model

    let whole = {
        whole with
            attempt = attempt.number
            stageEnd = pieces.last
            pieces = Some { pieces with gathered = 0 }
    }

    let model = enter InPieces whole model

    idlePieces whole model
    |> List.fold (fun model index -> submitPiece whole.submission whole.id index model) model
    |> joinParts whole.id

/// Its submission is at hand.
let goOnCutting (whole: ModelTask) (model: Model) =
    match whole.pieces with
    | Some pieces -> launch pieces whole model
    | None ->
        let size = Payload.size whole.payload
        let pieceSize = max model.settings.split (1L<B> + size / 4_096L)
        ask (Text.cut whole.Current whole.payload pieceSize) model

/// No event tells of it: it stays where it was in its queue, and since when.
let startCutting (whole: ModelTask) (model: Model) =
    let whole = { whole with where = Cutting }
    let model = put whole model

    if whole.submission.IsJournaled then
        ask (Text.recall whole.Current whole.home) model
    else
        goOnCutting whole model

let wasCut cuts (whole: ModelTask) (model: Model) =
    let stages = cuttable whole.Rest
    let last = whole.stage + stages.Length

    let pieces = {
        cuts = List.ofArray cuts
        last = last
        stages = stages
        downstream =
            if whole.isResult then
                None
            else
                Some(List.skip last whole.stages)
        parts = Map.empty
        gathered = 0
        durations = []
    }

    launch pieces whole model
