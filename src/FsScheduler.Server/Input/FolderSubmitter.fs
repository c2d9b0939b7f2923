namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders

/// <summary>Makes tasks of the files that an inbox finds. Called by the inbox alone, one call at a time.</summary>
/// <param name="pipelines">Chooses what is done with each.</param>
/// <param name="outage">While there is one, files wait where they are.</param>
/// <param name="clock">For the wait.</param>
/// <param name="activity">Is told of each file that is submitted.</param>
/// <param name="log">Names a `pipeline.txt` that is none.</param>
/// <param name="submit">Takes what the machine is to be told.</param>
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
    let holdupEvery = TimeSpan.FromMilliseconds 200.0

    /// Files that wait for a `pipeline.txt` to be put right, with the version that was found, by its folder.
    let held = Dictionary<string, Dictionary<TaskName, FileVersion>>()
    let told = Dictionary<string, string>()
    let mutable heldCount = 0

    let count () =
        Volatile.Write(&heldCount, held.Values |> Seq.sumBy _.Count)

    let hold (name: TaskName) (stamp: FileVersion) (broken: BrokenFolder) =
        match held.TryGetValue broken.folder with
        | true, files -> files[name] <- stamp
        | _ -> held[broken.folder] <- Dictionary [ KeyValuePair(name, stamp) ]

        match told.TryGetValue broken.folder with
        | true, reason when reason = broken.reason -> ()
        | _ ->
            told[broken.folder] <- broken.reason

            log.LogError(
                "{Folder}/{File} is no pipeline: {Reason}; the files there wait until it is put right, or removed",
                broken.folder,
                Route.folderFile,
                broken.reason
            )

    let submission (name: TaskName) (stamp: FileVersion) (pipeline: Pipeline) source =
        let submission = Submission.Create(name, "", 0, Origin.Folder, Payload.Input stamp)

        match source with
        | OwnPipeline -> Input.Submit(submission, "")
        | OfRoute _
        | OfFolder _ -> Input.SubmitFile(submission, pipeline)

    /// A `pipeline.txt` has come, changed or gone: the files that waited for it.
    let free (changed: TaskName seq) : struct (TaskName * FileVersion) list = [
        for name in changed do
            let folder = List.head (Route.foldersOf name)
            told.Remove folder |> ignore

            match held.TryGetValue folder with
            | true, files ->
                held.Remove folder |> ignore

                for KeyValue(name, stamp) in files do
                    struct (name, stamp)
            | _ -> ()
    ]

    let take (files: struct (TaskName * FileVersion) seq) : Task =
        let inputs = [|
            for struct (name, stamp) in files do
                match pipelines.Choose name with
                | Ok struct (pipeline, source) ->
                    activity.Taken(name, pipeline)
                    submission name stamp pipeline source
                | Error broken -> hold name stamp broken
        |]

        count ()
        submit inputs

    /// How many files wait because a `pipeline.txt` is none.
    member _.Held = Volatile.Read &heldCount

    /// Submits files.
    member _.TakeAsync(files: struct (TaskName * FileVersion)[]) : Task =
        task {
            while not (isNull outage.Reason) do
                do! Task.Delay(holdupEvery, clock.Provider, stop)

            let isFolderFile (struct (name, _)) = Route.isFolderFile name
            let said, inputs = Array.partition isFolderFile files
            let freed = free (said |> Seq.map (fun struct (name, _) -> name))
            do! take (Seq.append inputs freed)
        }

    /// Tells of files that are gone.
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
