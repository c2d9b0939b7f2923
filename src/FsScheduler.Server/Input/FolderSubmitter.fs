namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Folders

/// <summary>Submits the files that an inbox finds. Called by the inbox alone, one call at a time.</summary>
/// <param name="pipelines">Chooses the pipeline of each file.</param>
/// <param name="outage">While it lasts, files wait in their folder.</param>
/// <param name="clock">Measures the wait.</param>
/// <param name="activity">Told of each submitted file.</param>
/// <param name="log">Warns of an invalid `pipeline.txt`.</param>
/// <param name="submit">Posts inputs of the machine.</param>
/// <param name="stop">Ends the wait.</param>
[<Sealed>]
type FolderSubmitter
    (
        pipelines: FolderPipelines,
        outage: StorageOutage,
        clock: Clock,
        activity: ActivityLog,
        log: ILogger,
        submit: Input[] -> Task,
        stop: CancellationToken
    ) =
    let outageEvery = TimeSpan.FromMilliseconds 200.0

    /// By folder: the files that wait for a valid `pipeline.txt`, with the versions found.
    let held = Dictionary<string, Dictionary<TaskName, FileVersion>>()
    let told = Dictionary<string, string>()
    let mutable heldCount = 0

    let count () =
        Volatile.Write(&heldCount, held.Values |> Seq.sumBy _.Count)

    let hold (name: TaskName) (version: FileVersion) (broken: BrokenFolder) =
        match held.TryGetValue broken.folder with
        | true, files -> files[name] <- version
        | _ -> held[broken.folder] <- Dictionary [ KeyValuePair(name, version) ]

        match told.TryGetValue broken.folder with
        | true, reason when reason = broken.reason -> ()
        | _ ->
            told[broken.folder] <- broken.reason

            log.LogError(
                "{Folder}/{File} is no pipeline: {Reason}; the files of the folder wait until it is corrected or deleted",
                broken.folder,
                Route.folderFile,
                broken.reason
            )

    let submission (name: TaskName) (version: FileVersion) (pipeline: Pipeline) source =
        let submission =
            Submission.Create(name, "", 0, Origin.Folder, Payload.Input version)

        match source with
        | OwnPipeline -> Input.Submit(submission, "")
        | OfRoute _
        | OfFolder _ -> Input.SubmitFile(submission, pipeline)

    /// The files that waited for a `pipeline.txt` which has come, changed or gone.
    let free (changed: TaskName seq) : struct (TaskName * FileVersion) list = [
        for name in changed do
            let folder = List.head (Route.foldersOf name)
            told.Remove folder |> ignore

            match held.TryGetValue folder with
            | true, files ->
                held.Remove folder |> ignore

                for KeyValue(name, version) in files do
                    struct (name, version)
            | _ -> ()
    ]

    let take (files: struct (TaskName * FileVersion) seq) : Task =
        let inputs = [|
            for struct (name, version) in files do
                match pipelines.Choose name with
                | Ok struct (pipeline, source) ->
                    activity.Taken(name, pipeline)
                    submission name version pipeline source
                | Error broken -> hold name version broken
        |]

        count ()
        submit inputs

    /// The number of files that wait for a valid `pipeline.txt`.
    member _.Held = Volatile.Read &heldCount

    /// Submits files.
    member _.TakeAsync(files: struct (TaskName * FileVersion)[]) : Task =
        task {
            while not (isNull outage.Reason) do
                do! Task.Delay(outageEvery, clock.Provider, stop)

            let isFolderFile (struct (name, _)) = Route.isFolderFile name
            let said, inputs = Array.partition isFolderFile files
            let freed = free (said |> Seq.map (fun struct (name, _) -> name))
            do! take (Seq.append inputs freed)
        }

    /// Reports deleted files.
    member _.VanishAsync(names: TaskName[]) : Task =
        task {
            let said, inputs = Array.partition Route.isFolderFile names
            let freed = free said

            for name in inputs do
                for files in held.Values do
                    files.Remove name |> ignore

            do! submit (inputs |> Array.map (string >> Input.FileDeleted))
            do! take freed
        }
