namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Stages
open FsScheduler.Protocol

/// Finds where the pieces of a payload end, of about this size.
type Cut =
    delegate of
        attempt: Attempt * submission: Submission * payload: Payload * pieceSize: Size ->
            Size[] voption

/// Results that are put together while some of their parts are still being made. One loop's.
type private Drafts = Dictionary<Attempt, ResultAssembly>

/// <summary>Cuts payloads into pieces and puts the results of pieces together, away from the mailbox, and tells the machine
/// how it went.</summary>
/// <param name="journal">Has the small parts.</param>
/// <param name="files">Has the large ones, and the results.</param>
/// <param name="merging">Merges parts.</param>
/// <param name="smallMax">Results up to this size are held in memory, and in the journal.</param>
/// <param name="isKept">Whether what is at a path has to outlive the scheduler.</param>
/// <param name="note">Is told what a large result holds, at its path.</param>
/// <param name="temporary">A folder for what does not fit into memory on the way.</param>
/// <param name="outage">Where it says that the disk takes nothing.</param>
/// <param name="clock">For the time between two tries.</param>
[<Sealed>]
type PieceMerger
    (
        journal: IJournal,
        files: ISpool,
        merging: Merge,
        smallMax: Size,
        isKept: string -> bool,
        note: string -> ContentHash -> unit,
        temporary: string,
        outage: StorageOutage,
        clock: Clock
    ) =
    // The larger of two works may take minutes; the other need not wait for it.
    let threads = max 2 Environment.ProcessorCount

    // Never more effects than tasks.
    let anywhere = Channel.CreateUnbounded<PieceEffect>()

    /// What is put one behind the other comes in order, and so each result has its own loop.
    let lanes = Array.init threads (fun _ -> Channel.CreateUnbounded<PieceEffect>())

    let laneOf (attempt: Attempt) =
        lanes[int (int64 attempt.task % int64 threads)]

    let parts = Parts(journal, files)

    /// A lane has no more results open before all of their parts are there.
    let draftsMax = 64

    let take (drafts: Drafts) (attempt: Attempt) =
        let mutable draft = Unchecked.defaultof<ResultAssembly>

        if drafts.Remove(attempt, &draft) then
            ValueSome draft
        else
            ValueNone

    let drop drafts attempt =
        take drafts attempt |> ValueOption.iter _.Drop()

    /// None where nobody wants it any more.
    let newDraft (spool: Attempt -> Task<string | null>) attempt : Task<ResultAssembly voption> =
        task {
            match! spool attempt with
            | null -> return ValueNone
            | path -> return ValueSome(new ResultAssembly(path, files, parts, merging, temporary))
        }

    let takeOrMake (drafts: Drafts) spool attempt : Task<ResultAssembly voption> =
        match take drafts attempt with
        | ValueSome draft -> Task.FromResult(ValueSome draft)
        | ValueNone -> newDraft spool attempt

    /// Ahead of time. Where it cannot be done it is left, and done, or said, when all parts are there.
    let prefetch (drafts: Drafts) spool attempt index part ct : Task =
        task {
            try
                if index = 0 && drafts.Count < draftsMax then
                    match! newDraft spool attempt with
                    | ValueSome draft -> drafts.Add(attempt, draft)
                    | ValueNone -> ()

                match drafts.TryGetValue attempt with
                | true, draft when draft.Count = index -> do! draft.AppendAsync(part, ct)
                | _ -> ()
            with Disk.StorageError _ ->
                drop drafts attempt
        }

    let complete (draft: ResultAssembly) stage (all: Payload[]) ct =
        task {
            match stage with
            | ValueSome stage -> do! draft.MergeAsync(stage, all, ct)
            | ValueNone ->
                for index in draft.Count .. all.Length - 1 do
                    do! draft.AppendAsync(all[index], ct)

            return draft.Finish(isKept draft.Path)
        }

    let mergeInto attempt (draft: ResultAssembly) stage all ct : Task<Input> =
        task {
            let! hash = complete draft stage all ct

            if hash.size <= smallMax then
                let bytes: byte[] = Array.zeroCreate (int hash.size)

                do!
                    task {
                        use file = files.Open draft.Path
                        do! file.ReadExactlyAsync(bytes.AsMemory(), ct)
                    }

                Spool.discard files draft.Path
                return Input.PartsMerged(attempt, Bytes bytes)
            else
                note draft.Path hash
                return Input.PartsMerged(attempt, Spooled(draft.Path, hash.size))
        }

    let notMerged attempt reason =
        Input.MergeFailed(
            attempt,
            $"the results of its pieces cannot be put together: {reason}; if it is in quarantine, 'retry' makes all of them again"
        )

    /// A full disk is waited for: the parts are there, and are not computed again.
    let merge drafts spool (attempt: Attempt) stage all ct : Task<Input voption> =
        let mutable folder = temporary

        let mergeOnce draft =
            task {
                let mutable isMerged = false

                try
                    let! merged = mergeInto attempt draft stage all ct
                    isMerged <- true
                    return Ok(ValueSome merged)
                finally
                    if not isMerged then
                        draft.Drop()
            }

        // The place is the same at every try, wherever the draft is then.
        outage.RetryAsync(
            $"the result of task {attempt.task}, put together of pieces",
            clock,
            ct,
            fun () ->
                task {
                    try
                        match! takeOrMake drafts spool attempt with
                        | ValueNone -> return Ok ValueNone
                        | ValueSome draft ->
                            folder <- nonNull (Path.GetDirectoryName draft.Path)
                            return! mergeOnce draft
                    with
                    // What there was of it is deleted by now.
                    | error when Disk.isFull error && files.HasRoomForOthers folder ->
                        let reason =
                            $"there is no room for the result, which is put together of pieces: {error.Message}; it is tried again, and holds up nothing else: make room, or cancel the task"

                        outage.Skip(attempt.task, reason)
                        return Ok(ValueSome(Input.NoRoom(attempt, reason)))
                    | error when Disk.passes error -> return Error error.Message
                    | Disk.StorageError reason -> return Ok(ValueSome(notMerged attempt reason))
                    | :? StageException as error ->
                        return Ok(ValueSome(notMerged attempt error.Message))
                }
        )

    member _.Post(effect: PieceEffect) =
        let channel =
            match effect with
            | PieceEffect.PrefetchPart(attempt, _, _)
            | PieceEffect.DropPrefetch attempt
            | PieceEffect.MergeParts(attempt, ValueNone, _) -> laneOf attempt
            | _ -> anywhere

        channel.Writer.TryWrite effect |> ignore

    /// <summary>Works until it is stopped.</summary>
    /// <param name="cut">Where the pieces of a payload end; none where it is not to be had, which the machine is told.</param>
    /// <param name="spool">A path for the result of an attempt; null where nobody wants it any more.</param>
    /// <param name="tell">Takes what the machine is to be told.</param>
    /// <param name="ct">Stops it, also in the middle of a result.</param>
    member _.RunAsync
        (
            cut: Cut,
            spool: Attempt -> Task<string | null>,
            tell: Input[] -> Task,
            ct: CancellationToken
        ) : Task =
        let perform drafts effect ct : Task<Input voption> =
            task {
                match effect with
                | PieceEffect.Cut(attempt, submission, payload, pieceSize) ->
                    return
                        cut.Invoke(attempt, submission, payload, pieceSize)
                        |> ValueOption.map (fun cuts -> Input.Cut(attempt, cuts))
                | PieceEffect.MergeParts(attempt, stage, all) ->
                    return! merge drafts spool attempt stage all ct
                | PieceEffect.PrefetchPart(attempt, index, part) ->
                    do! prefetch drafts spool attempt index part ct
                    return ValueNone
                | PieceEffect.DropPrefetch attempt ->
                    drop drafts attempt
                    return ValueNone
            }

        let work (channel: Channel<PieceEffect>) (ct: CancellationToken) : Task =
            task {
                let drafts = Drafts()

                try
                    try
                        while not ct.IsCancellationRequested do
                            let! effect = channel.Reader.ReadAsync ct

                            match! perform drafts effect ct with
                            | ValueSome input -> do! tell [| input |]
                            | ValueNone -> ()
                    with :? OperationCanceledException ->
                        ()
                finally
                    for draft in drafts.Values do
                        draft.Drop()
            }

        let channels = [ yield! List.replicate threads anywhere; yield! lanes ]
        Loops.runAsync (List.map work channels) ct
