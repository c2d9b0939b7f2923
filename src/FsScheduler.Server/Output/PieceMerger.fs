namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Stages
open FsScheduler.Protocol

/// Finds the ends of the pieces of a payload, each of about the given size.
type Cut =
    delegate of
        attempt: Attempt * submission: Submission * payload: Payload * pieceSize: Size ->
            Size[] voption

/// Results that are assembled while some of their parts are still being computed. Owned by one loop.
type private Assemblies = Dictionary<Attempt, ResultAssembly>

/// <summary>Splits payloads into pieces and merges their results, away from the mailbox.</summary>
/// <param name="journal">Holds the small parts.</param>
/// <param name="files">Holds the large parts, and the results.</param>
/// <param name="merging">Merges parts.</param>
/// <param name="smallMax">Results up to this size are held in memory, and in the journal.</param>
/// <param name="isKept">Whether the file at a path has to outlive the scheduler.</param>
/// <param name="note">Told the content hash of a large result, by path.</param>
/// <param name="temporary">The folder for data that does not fit into memory.</param>
/// <param name="outage">Lasts while the disk takes no data.</param>
/// <param name="clock">Measures the time between two tries.</param>
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
    // One merge may take minutes; another need not wait for it.
    let threads = max 2 Environment.ProcessorCount

    // At most one effect for each task.
    let anywhere = Channel.CreateUnbounded<PieceEffect>()

    /// A result stays in one lane, each with its own loop, so that its parts are appended in order.
    let lanes = Array.init threads (fun _ -> Channel.CreateUnbounded<PieceEffect>())

    let laneOf (attempt: Attempt) =
        lanes[int (int64 attempt.task % int64 threads)]

    let parts = Parts(journal, files)

    /// Results that a lane has open before all of their parts are there, at most.
    let assembliesMax = 64

    let take (assemblies: Assemblies) (attempt: Attempt) =
        let mutable assembly = Unchecked.defaultof<ResultAssembly>

        if assemblies.Remove(attempt, &assembly) then
            ValueSome assembly
        else
            ValueNone

    let drop assemblies attempt =
        take assemblies attempt |> ValueOption.iter _.Drop()

    /// None if nobody wants the result any more.
    let newAssembly (spool: Attempt -> Task<string | null>) attempt : Task<ResultAssembly voption> =
        task {
            match! spool attempt with
            | null -> return ValueNone
            | path -> return ValueSome(new ResultAssembly(path, files, parts, merging, temporary))
        }

    let takeOrMake (assemblies: Assemblies) spool attempt : Task<ResultAssembly voption> =
        match take assemblies attempt with
        | ValueSome assembly -> Task.FromResult(ValueSome assembly)
        | ValueNone -> newAssembly spool attempt

    /// Appends a part ahead of time. A failure is left to the merge of all parts, which tries again and reports it.
    let prefetch (assemblies: Assemblies) spool attempt index part ct : Task =
        task {
            try
                if index = 0 && assemblies.Count < assembliesMax then
                    match! newAssembly spool attempt with
                    | ValueSome assembly -> assemblies.Add(attempt, assembly)
                    | ValueNone -> ()

                match assemblies.TryGetValue attempt with
                | true, assembly when assembly.Count = index -> do! assembly.AppendAsync(part, ct)
                | _ -> ()
            with Disk.StorageError _ ->
                drop assemblies attempt
        }

    let complete (assembly: ResultAssembly) stage (all: KeptContent[]) ct =
        task {
            match stage with
            | ValueSome stage -> do! assembly.MergeAsync(stage, all, ct)
            | ValueNone ->
                for index in assembly.Count .. all.Length - 1 do
                    do! assembly.AppendAsync(all[index], ct)

            return assembly.Finish(isKept assembly.Path)
        }

    let mergeInto attempt (assembly: ResultAssembly) stage all ct : Task<Input> =
        task {
            let! hash = complete assembly stage all ct

            if hash.size <= smallMax then
                let bytes: byte[] = Array.zeroCreate (int hash.size)

                do!
                    task {
                        use file = files.Open assembly.Path
                        do! file.ReadExactlyAsync(bytes.AsMemory(), ct)
                    }

                Spool.discard files assembly.Path
                return Input.PartsMerged(attempt, Bytes bytes)
            else
                note assembly.Path hash
                return Input.PartsMerged(attempt, Spooled(assembly.Path, hash.size))
        }

    let notMerged attempt reason =
        Input.MergeFailed(
            attempt,
            $"the results of its pieces cannot be put together: {reason}; if it is in quarantine, 'retry' makes all of them again"
        )

    /// Waits for a full disk: the parts are there, and are not computed again.
    let merge assemblies spool (attempt: Attempt) stage all ct : Task<Input voption> =
        let mutable folder = temporary

        let mergeOnce assembly =
            task {
                let mutable isMerged = false

                try
                    let! merged = mergeInto attempt assembly stage all ct
                    isMerged <- true
                    return Ok(ValueSome merged)
                finally
                    if not isMerged then
                        assembly.Drop()
            }

        // The name of the outage is the same at every try, wherever the file is then.
        outage.RetryAsync(
            $"the result of task {attempt.task}, put together of pieces",
            clock,
            ct,
            fun () ->
                task {
                    try
                        match! takeOrMake assemblies spool attempt with
                        | ValueNone -> return Ok ValueNone
                        | ValueSome assembly ->
                            folder <- nonNull (Path.GetDirectoryName assembly.Path)
                            return! mergeOnce assembly
                    with
                    // The incomplete file has been deleted.
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
    /// <param name="cut">Finds the ends of the pieces of a payload; none if the payload cannot be read.</param>
    /// <param name="spool">A path for the result of an attempt; null if nobody wants it any more.</param>
    /// <param name="report">Posts inputs of the machine.</param>
    /// <param name="ct">Stops the work, also in the middle of a result.</param>
    member _.RunAsync
        (
            cut: Cut,
            spool: Attempt -> Task<string | null>,
            report: Input[] -> Task,
            ct: CancellationToken
        ) : Task =
        let perform assemblies effect ct : Task<Input voption> =
            task {
                match effect with
                | PieceEffect.Cut(attempt, submission, payload, pieceSize) ->
                    return
                        cut.Invoke(attempt, submission, payload, pieceSize)
                        |> ValueOption.map (fun cuts -> Input.Cut(attempt, cuts))
                | PieceEffect.MergeParts(attempt, stage, all) ->
                    return! merge assemblies spool attempt stage all ct
                | PieceEffect.PrefetchPart(attempt, index, part) ->
                    do! prefetch assemblies spool attempt index part ct
                    return ValueNone
                | PieceEffect.DropPrefetch attempt ->
                    drop assemblies attempt
                    return ValueNone
            }

        let work (channel: Channel<PieceEffect>) (ct: CancellationToken) : Task =
            task {
                let assemblies = Assemblies()

                try
                    try
                        while not ct.IsCancellationRequested do
                            let! effect = channel.Reader.ReadAsync ct

                            match! perform assemblies effect ct with
                            | ValueSome input -> do! report [| input |]
                            | ValueNone -> ()
                    with :? OperationCanceledException ->
                        ()
                finally
                    for assembly in assemblies.Values do
                        assembly.Drop()
            }

        let channels = [ yield! List.replicate threads anywhere; yield! lanes ]
        Loops.runAsync (List.map work channels) ct
