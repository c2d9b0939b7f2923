/// Events and effects as lines, by which the machine and its model are compared. Of what is said to people, only whom it is
/// said to.
module FsScheduler.Machine.Tests.SchedulerModelText

open FsScheduler.Core
open FsScheduler.Machine

/// The result of what has none.
let nothing = Kept KeptContent.empty

let rec payload (of': Payload) : string =
    match of' with
    | Packed -> "packed"
    | Kept(Held(Bytes bytes)) -> $"{bytes.Length} bytes"
    | Kept(Held(Spooled(path, _))) -> path
    | Kept(Recorded(number, size)) -> $"{int64 size} bytes of event {number}"
    | Journaled -> "filed"
    | Input stamp -> $"version {stamp.modified}"
    | Slice(whole, start, size) -> $"{int64 start} and {int64 size} of {payload whole}"

let payloads (all: Payload seq) =
    all |> Seq.map payload |> String.concat ", "

let attempt (of': Attempt) = $"{int64 of'.task}.{of'.number}"

let words (all: string seq) = String.concat " | " all

let cause (of': Cause) =
    match of' with
    | TaskError -> "fault"
    | WorkerLost -> "loss"
    | WorkerLeft -> "departure"
    | StorageError -> "disk"
    | WorkerUnable -> "inability"

let private origin (of': Origin) =
    match of' with
    | Folder -> "a file"
    | Origin.Client _ -> "a client"
    | Piece(whole, index) -> $"piece {index} of {int64 whole}"

// Events.

let submitted (id: TaskId) (submission: Submission) stages =
    $"{int64 id} is submitted by {origin submission.Origin}: {payload submission.Payload} for {words stages}"

let assigned of' (session: SessionId) first last =
    $"{attempt of'} is given to {int64 session}: {first} to {last}"

let advanced of' stage result =
    $"{attempt of'} has come to {stage}: {payload result}"

let split of' last (cuts: Size seq) =
    let cuts = cuts |> Seq.map (int64 >> string) |> String.concat " "
    $"{attempt of'} is in pieces up to {last}: {cuts}"

let part (whole: TaskId) index result =
    $"part {index} of {int64 whole}: {payload result}"

let speculated (whole: TaskId) index (slow: TaskId) =
    $"{int64 slow} is slow with piece {index} of {int64 whole}"

let failed what (id: TaskId) worker of' =
    $"{int64 id} is {what}, for a {cause of'} of {worker}"

let woken (id: TaskId) = $"{int64 id} is woken"
let retried (id: TaskId) = $"{int64 id} is retried"

let claimed of' (session: SessionId) =
    $"{attempt of'} is claimed by {int64 session}"

let accepted of' result =
    $"{attempt of'} is accepted: {payload result}"

let completed of' left = $"{attempt of'} is completed: {left}"

let keeps result = $"keeps {payload result}"

let cancelled (id: TaskId) = $"{int64 id} is cancelled"
let gone name = $"{name} is gone"
let joined (session: SessionId) = $"{int64 session} has joined"
let left (session: SessionId) = $"{int64 session} has left"
let opened = "opened"
let noted = "noted"

/// What is carried the model is told.
let ofEvent (event: Event) : string option =
    match event with
    | Event.Submitted(id, submission, pipeline) -> Some(submitted id submission pipeline.wire)
    | Event.Assigned(attempt, session, struct (first, last)) ->
        Some(assigned attempt session first last)
    | Event.Advanced(attempt, stage, result) -> Some(advanced attempt stage (Kept result))
    | Event.Split(attempt, last, _, cuts) -> Some(split attempt last cuts)
    | Event.Part(whole, index, result) -> Some(part whole index (Kept result))
    | Event.PartLost(whole, index) -> Some $"part {index} of {int64 whole} is lost"
    | Event.Speculated(whole, index, slow) -> Some(speculated whole index slow)
    | Event.Delayed(id, trouble, _) -> Some(failed "delayed" id trouble.worker trouble.cause)
    | Event.Woken id -> Some(woken id)
    | Event.Requeued(id, trouble) -> Some(failed "requeued" id trouble.worker trouble.cause)
    | Event.Claimed(attempt, session) -> Some(claimed attempt session)
    | Event.Quarantined(id, trouble) -> Some(failed "quarantined" id trouble.worker trouble.cause)
    | Event.Accepted(attempt, AcceptedContent result) -> Some(accepted attempt (Kept(Held result)))
    | Event.Accepted(attempt, AcceptedMark _) -> Some(accepted attempt nothing)
    | Event.Completed(attempt, NothingKept) -> Some(completed attempt "nothing")
    | Event.Completed(attempt, KeptResult result) -> Some(completed attempt (keeps (Kept result)))
    | Event.Completed(attempt, StoredResult _) -> Some(completed attempt "stored")
    | Event.Cancelled(id, _) -> Some(cancelled id)
    | Event.Retried id -> Some(retried id)
    | Event.Gone name -> Some(gone name)
    | Event.Joined(session, _, _) -> Some(joined session)
    | Event.Left(session, _, _) -> Some(left session)
    | Event.Opened _ -> Some opened
    | Event.Noted _ -> Some noted
    | Event.Carried _
    | Event.Dropped _ -> None

// Effects.

let assign (session: SessionId) of' stages piece name input =
    let piece = piece |> Option.map string |> Option.defaultValue "no"
    $"have {int64 session} run {attempt of'}, {name}, {piece} piece: {words stages} on {payload input}"

let revoke (session: SessionId) of' =
    $"have {int64 session} drop {attempt of'}"

let recall of' (number: int64) =
    $"read the submission of {attempt of'} at event {number}"

let cut of' input (size: Size) =
    $"cut {payload input} of {attempt of'} into pieces of {int64 size}"

let join of' merge parts =
    let how = merge |> Option.map (sprintf "by %s") |> Option.defaultValue "in a row"
    $"put the parts of {attempt of'} together {how}: {payloads parts}"

let gather of' index part =
    $"put part {index} of {attempt of'} behind the others: {payload part}"

let abandon of' =
    $"forget what is gathered for {attempt of'}"

let drop (before: int64) = $"drop what is before {before}"

let welcome (session: SessionId) keep =
    let keep = keep |> Seq.map attempt |> String.concat " "
    $"welcome {int64 session} with {keep}"

let dismiss (session: SessionId) = $"dismiss {int64 session}"
let disconnect (session: SessionId) = $"disconnect {int64 session}"

let tell (session: SessionId) ref (id: TaskId) attempts isError result isKept =
    let how = if isError then "has failed" else "is done"
    let kept = if isKept then "kept" else "handed over"
    $"tell {int64 session} of {ref}, task {int64 id}: {how} after {attempts}, {payload result}, {kept}"

let tellRecalled (session: SessionId) (id: TaskId) attempts isError (number: int64) =
    let ref = $"that of event {number}"
    tell session ref id attempts isError nothing false

let accept (session: SessionId) ref (id: TaskId) =
    $"accept {ref} of {int64 session} as task {int64 id}"

let reject (session: SessionId) ref code =
    let code =
        match code with
        | RejectionCode.BadPipeline -> "pipeline"
        | RejectionCode.BadName -> "name"
        | RejectionCode.BadKey -> "key"
        | RejectionCode.Busy -> "busy"

    $"reject {ref} of {int64 session}: {code}"

let error (session: SessionId) = $"tell {int64 session} of an error"

let publish how of' result =
    $"publish {attempt of'}{how}: {payload result}"

let settle of' = $"settle {attempt of'}"

let publishError (id: TaskId) = $"publish the errors of {int64 id}"

let discard path = $"discard {path}"

let missing stage (tasks: int) = $"{tasks} tasks miss {stage}"

let heldBack worker stages =
    $"{worker} is held back for {words stages}"

let takenUp worker stages =
    $"{worker} is taken up for {words stages}"

let private told session message result isKept =
    match message with
    | FromScheduler.Accepted(ref, id) -> accept session ref id
    | FromScheduler.Rejected(ref, code, _) -> reject session ref code
    | FromScheduler.Done ended ->
        tell session ended.ref ended.task ended.attempts ended.error.IsSome result isKept
    | FromScheduler.Error _ -> error session
    | _ -> "something else"

let ofEffect (effect: Effect) : string =
    match effect with
    | Effect.ToPeer(PeerEffect.Assign(session, work, submission, payload)) ->
        let piece = work.piece |> ValueOption.toOption
        assign session work.attempt work.stages piece submission.Name payload
    | Effect.ToPeer(PeerEffect.Revoke(session, attempt)) -> revoke session attempt
    | Effect.ToJournal(JournalEffect.LoadSubmission(attempt, number)) -> recall attempt number
    | Effect.ToJournal(JournalEffect.ReplyLoaded(session, ended, number)) ->
        tellRecalled session ended.task ended.attempts ended.error.IsSome number
    | Effect.ToJournal(JournalEffect.Drop before) -> drop before
    | Effect.ToPieces(PieceEffect.Cut(attempt, _, payload, size)) -> cut attempt payload size
    | Effect.ToPieces(PieceEffect.MergeParts(attempt, merge, parts)) ->
        join attempt (merge |> ValueOption.toOption |> Option.map _.name) (Seq.map Kept parts)
    | Effect.ToPieces(PieceEffect.PrefetchPart(attempt, index, part)) ->
        gather attempt index (Kept part)
    | Effect.ToPieces(PieceEffect.DropPrefetch attempt) -> abandon attempt
    | Effect.ToPeer(PeerEffect.Welcome(session, keep)) -> welcome session keep
    | Effect.ToPeer(PeerEffect.Dismiss session) -> dismiss session
    | Effect.ToPeer(PeerEffect.Reply(session, message)) -> told session message nothing false
    | Effect.ToPeer(PeerEffect.ReplyResult(session, message, result)) ->
        told session message (Kept(Held result)) false
    | Effect.ToPeer(PeerEffect.ReplyKept(session, message, result)) ->
        told session message (Kept result) true
    | Effect.ToDisk(DiskEffect.Publish(attempt, _, result)) ->
        publish "" attempt (Kept(Held result))
    | Effect.ToDisk(DiskEffect.PublishOlder(attempt, _, result)) ->
        publish ", the older" attempt (Kept(Held result))
    | Effect.ToDisk(DiskEffect.ConfirmPublished(attempt, _, _)) -> settle attempt
    | Effect.ToDisk(DiskEffect.PublishError(id, _, _)) -> publishError id
    | Effect.ToDisk(DiskEffect.Discard path) -> discard path
    | Effect.ToLog(LogEffect.StageUnavailable(stage, tasks)) -> missing stage tasks
    | Effect.ToLog(LogEffect.HeldBack(worker, stages, _)) -> heldBack worker stages
    | Effect.ToLog(LogEffect.TakenUp(worker, stages)) -> takenUp worker stages
    | Effect.ToPeer(PeerEffect.Disconnect(session, _)) -> disconnect session
