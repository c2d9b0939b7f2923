namespace FsScheduler.Folders

open System.Collections.Generic
open System.Text
open FsScheduler.Core

/// Where the pipeline of a file comes from.
type PipelineSource =
    /// The pipeline of the scheduler, from `--pipeline`.
    | OwnPipeline
    | OfRoute of pattern: string
    /// A `pipeline.txt`, by path relative to the folder of inputs.
    | OfFolder of path: string

    override source.ToString() =
        match source with
        | OwnPipeline -> "--pipeline"
        | OfRoute pattern -> $"--route '{pattern}'"
        | OfFolder path -> path

/// A folder with an invalid `pipeline.txt`, whose files wait.
type BrokenFolder = { folder: string; reason: string }

/// <summary>Chooses the pipeline of each file: that of the nearest `pipeline.txt` above it, or of the first matching
/// route, or the scheduler's own. Checks the version of `pipeline.txt` each time, and keeps what was read.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="routes">In the order of the command line.</param>
/// <param name="own">The pipeline of the scheduler.</param>
[<Sealed>]
type FolderPipelines(inputs: InputFolder, routes: Route list, own: Pipeline) =
    let strict = UTF8Encoding(false, true)
    let read = Dictionary<string, struct (FileVersion * Result<Pipeline, string>)>()

    let parse (bytes: byte[]) =
        try
            // A stage that nobody has offered yet is waited for.
            strict.GetString(bytes).TrimStart('\uFEFF')
            |> Pipeline.parseAwaiting
            |> Result.mapError _.message
        with :? DecoderFallbackException ->
            Error "it is not UTF-8"

    /// Reads a version of a `pipeline.txt`; none if it is gone. Failures to read are not kept.
    let load folder (name: TaskName) (version: FileVersion) =
        let keep said =
            read[folder] <- struct (version, said)
            ValueSome said

        if version.size > Route.folderFileMax then
            keep (Error $"it has more than {Route.folderFileMax} bytes")
        else
            match InputFile.tryRead inputs name version with
            | Ok bytes -> keep (parse bytes)
            | Error Gone -> ValueNone
            | Error(Changed | BeingWritten _) -> ValueSome(Error "it is being written")
            | Error(NotReadable _ | Failing _ | Stuck _ as failure) ->
                ValueSome(Error failure.Message)

    /// The pipeline in the `pipeline.txt` of a folder, if there is one.
    let ofFolder (folder: string) : Result<Pipeline, string> voption =
        let path = folder + "/" + Route.folderFile

        match inputs.Examine path, TaskName.parse path with
        | (Absent | FolderEntry.Folder), _ ->
            read.Remove folder |> ignore
            ValueNone
        | Refused refusal, _ -> ValueSome(Error refusal.Message)
        | Unknown reason, _
        | Present _, Error reason -> ValueSome(Error reason)
        | Present version, Ok name ->
            match read.TryGetValue folder with
            | true, struct (known, said) when known = version -> ValueSome said
            | _ -> load folder name version

    member _.Choose(name: TaskName) : Result<struct (Pipeline * PipelineSource), BrokenFolder> =
        let rec nearest folders =
            match folders with
            | [] ->
                match Route.tryFind routes name with
                | Some route -> Ok struct (route.pipeline, OfRoute(string route.pattern))
                | None -> Ok struct (own, OwnPipeline)
            | folder :: above ->
                match ofFolder folder with
                | ValueNone -> nearest above
                | ValueSome(Ok pipeline) ->
                    Ok struct (pipeline, OfFolder(folder + "/" + Route.folderFile))
                | ValueSome(Error reason) -> Error { folder = folder; reason = reason }

        nearest (Route.foldersOf name)
