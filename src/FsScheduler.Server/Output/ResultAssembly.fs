namespace FsScheduler.Server

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Stages
open FsScheduler.Protocol

/// Where parts of results are.
/// <param name="journal">Has the small ones.</param>
/// <param name="files">Has the large ones.</param>
[<Sealed>]
type Parts(journal: IJournal, files: ISpool) =
    member _.Open(part: Payload) : Stream =
        match part with
        | Bytes bytes -> new MemoryStream(bytes, false)
        | Recorded(number, _) -> new MemoryStream(journal.ReadPayload number, false)
        | Spooled(path, _) -> files.Open path
        | Packed
        | Journaled
        | Input _
        | Slice _ -> invalidOp "a part is a result"

/// <summary>Makes of the results of a stage over the pieces of a payload what it would have given over the whole; as
/// `StageMerge.runAsync` has it; the folder is for what does not fit into memory.</summary>
type Merge =
    delegate of
        stage: Stage *
        parts: Stream[] *
        place: PartsPlace *
        output: Stream *
        temporary: string *
        ct: CancellationToken ->
            Task

module Merge =
    let ofStages =
        Merge(fun stage parts place output temporary ct ->
            StageMerge.runAsync stage parts place output temporary ct)

/// <summary>A result that is being put together of its parts, in a file.</summary>
/// <param name="path">Replaced, if it is there. It is whoever's the result is, unless the draft is dropped.</param>
/// <param name="files">Makes it.</param>
/// <param name="parts">Opens them.</param>
/// <param name="merging">Merges them.</param>
/// <param name="temporary">A folder for what does not fit into memory on the way.</param>
[<Sealed>]
type ResultAssembly(path: string, files: ISpool, parts: Parts, merging: Merge, temporary: string) =
    let output = files.Create path

    /// Parts that are open at a time.
    let openMax = 256

    let bufferSize = 1024 * 1024

    let mergeSome (stage: Stage) (some: Payload[]) place (output: Stream) ct : Task =
        task {
            let streams = some |> Array.map parts.Open

            try
                do! merging.Invoke(stage, streams, place, output, temporary, ct)
            finally
                for stream in streams do
                    stream.Dispose()
        }

    /// Neighbours first, where there are too many to be open at once.
    let rec merge stage (all: Payload[]) (output: Stream) ct : Task =
        task {
            if all.Length <= openMax then
                do! mergeSome stage all PartsPlace.All output ct
            else
                let mutable merged = []

                try
                    for group in Array.chunkBySize openMax all do
                        let path = Path.Combine(temporary, $"merge-{Guid.NewGuid():N}")

                        let place =
                            if merged.IsEmpty then
                                PartsPlace.First
                            else
                                PartsPlace.Later

                        merged <- path :: merged
                        use file = files.Create path
                        do! mergeSome stage group place file ct

                    let groups = merged |> List.rev |> Seq.map (fun path -> Spooled(path, 0L<B>))
                    do! merge stage (Seq.toArray groups) output ct
                finally
                    List.iter (Spool.discard files) merged
        }

    member _.Path = path

    /// How many parts stand in it.
    member val Count = 0 with get, set

    /// Puts the next part behind those that stand in it.
    member draft.AppendAsync(part: Payload, ct: CancellationToken) : Task =
        task {
            use input = parts.Open part
            do! input.CopyToAsync(output, bufferSize, ct)
            draft.Count <- draft.Count + 1
        }

    /// Merges parts, of which none stands in it.
    member _.MergeAsync(stage: Stage, all: Payload[], ct: CancellationToken) : Task =
        merge stage all output ct

    /// <summary>Closes what is complete.</summary>
    /// <param name="isKept">Whether it has to outlive the scheduler.</param>
    member _.Finish(isKept: bool) : ContentHash =
        if isKept then
            output.FlushToDisk()

        let hash = output.ContentHash
        output.Dispose()
        hash

    /// Closes and deletes it.
    member _.Drop() =
        output.Dispose()
        Spool.discard files path
