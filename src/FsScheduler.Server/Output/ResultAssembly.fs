namespace FsScheduler.Server

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Stages
open FsScheduler.Protocol

/// Opens the parts of results.
/// <param name="journal">Holds the small parts.</param>
/// <param name="files">Holds the large parts.</param>
[<Sealed>]
type Parts(journal: IJournal, files: ISpool) =
    member _.Open(part: KeptContent) : Stream =
        match part with
        | Held(Bytes bytes) -> new MemoryStream(bytes, false)
        | Held(Spooled(path, _)) -> files.Open path
        | Recorded(number, _) -> new MemoryStream(journal.ReadPayload number, false)

/// <summary>Merges the results of a stage over the pieces of a payload into the result over the whole payload, as
/// `StageMerge.runAsync`. The folder is for data that does not fit into memory.</summary>
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

/// <summary>A result file that is assembled from its parts.</summary>
/// <param name="path">The file; replaced if it exists. Deleted by `Drop` alone.</param>
/// <param name="files">Creates the file.</param>
/// <param name="parts">Opens the parts.</param>
/// <param name="merging">Merges the parts.</param>
/// <param name="temporary">The folder for data that does not fit into memory.</param>
[<Sealed>]
type ResultAssembly(path: string, files: ISpool, parts: Parts, merging: Merge, temporary: string) =
    let output = files.Create path

    /// Parts that are open at once, at most.
    let openMax = 256

    let bufferSize = 1024 * 1024

    let mergeSome (stage: Stage) (some: KeptContent[]) place (output: Stream) ct : Task =
        task {
            let streams = some |> Array.map parts.Open

            try
                do! merging.Invoke(stage, streams, place, output, temporary, ct)
            finally
                for stream in streams do
                    stream.Dispose()
        }

    /// Merges neighbours first where there are too many parts to be open at once.
    let rec merge stage (all: KeptContent[]) (output: Stream) ct : Task =
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

                    let group path = Held(Spooled(path, 0L<B>))
                    let groups = merged |> List.rev |> Seq.map group
                    do! merge stage (Seq.toArray groups) output ct
                finally
                    List.iter (Spool.discard files) merged
        }

    member _.Path = path

    /// The number of parts in the file.
    member val Count = 0 with get, set

    /// Appends the next part.
    member assembly.AppendAsync(part: KeptContent, ct: CancellationToken) : Task =
        task {
            use input = parts.Open part
            do! input.CopyToAsync(output, bufferSize, ct)
            assembly.Count <- assembly.Count + 1
        }

    /// Merges parts into the file, which has none yet.
    member _.MergeAsync(stage: Stage, all: KeptContent[], ct: CancellationToken) : Task =
        merge stage all output ct

    /// <summary>Closes the complete file.</summary>
    /// <param name="isKept">Whether the file has to outlive the scheduler.</param>
    member _.Finish(isKept: bool) : ContentHash =
        if isKept then
            output.FlushToDisk()

        let hash = output.ContentHash
        output.Dispose()
        hash

    /// Closes and deletes the file.
    member _.Drop() =
        output.Dispose()
        Spool.discard files path
