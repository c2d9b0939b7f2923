namespace FsScheduler.Folders

open System
open FsScheduler.Core

/// Why a result could not be published. Nothing of it is left.
type PublishFailure =
    /// A folder has the name of the result, or a file that of a folder on the path.
    | NameTaken of path: string
    /// A folder on the path is a link.
    | OutsideResults of path: string
    /// A result, or an error, of another source has the name.
    | Occupied of path: string
    /// Another source owns the name, or owned it, whose result is gone: `ResultOwners.ForgetAsync` comes first.
    | Abandoned of TaskName
    | NoSpace
    /// The disk fails, or has become read-only.
    | DiskBroken of reason: string
    | NotPermitted of reason: string
    | NameTooLong
    /// The temporary file is not where `CreateTemp` put it, or gone.
    | TempLost of path: string
    | DiskFailed of reason: string

    /// Whether the failure is the disk's, not this result's, and may pass.
    member failure.IsOfTheDisk =
        match failure with
        | NoSpace
        | DiskBroken _ -> true
        | NameTaken _
        | OutsideResults _
        | Occupied _
        | Abandoned _
        | NotPermitted _
        | NameTooLong
        | TempLost _
        | DiskFailed _ -> false

    /// A sentence for `NAME.err` and the log.
    member failure.Message =
        match failure with
        | NameTaken path ->
            $"{path} is in the way: a folder where a file goes, or the other way round"
        | OutsideResults path ->
            $"{path} is a link; results are written only below their own folder"
        | Occupied path ->
            $"{path} is there already, of another source; take it away, or submit under another name"
        | Abandoned name -> $"{name} belongs to another source, whose result is gone"
        | NoSpace -> "there is no space left for the result"
        | DiskBroken reason -> $"the disk fails: {reason}"
        | NotPermitted reason -> $"the result may not be written: {reason}"
        | NameTooLong -> "the name of the result is too long for this file system"
        | TempLost path -> $"the temporary file {path} is gone"
        | DiskFailed reason -> $"the result cannot be written: {reason}"

/// The folder of results, for the publisher. Safe for any thread.
type IResultFolder =
    /// The absolute path of the folder.
    abstract Path: string

    /// The key of a name: equal for names that the file system takes for the same.
    abstract Fold: name: TaskName -> string

    /// <summary>The name of the result or error that stands where those of this name would.</summary>
    /// <returns>None: there is none, or it has exactly this name.</returns>
    abstract NameThere: name: TaskName -> TaskName voption

    /// Whether `NAME.out` or `NAME.err` exists, as a file or anything else.
    abstract IsThere: name: TaskName -> bool

    /// Whether there is a result.
    abstract HasResult: name: TaskName -> bool

    /// The path of a result.
    abstract TargetOf: name: TaskName -> string

    /// <summary>Publishes a result that is in memory: writes it under a temporary name, and renames it.</summary>
    /// <param name="name">Determines the path.</param>
    /// <param name="result">The bytes.</param>
    /// <param name="mayReplace">Whether an existing file is replaced; otherwise it makes the name `Occupied`.</param>
    abstract Publish:
        name: TaskName * result: ReadOnlyMemory<byte> * mayReplace: bool ->
            Result<unit, PublishFailure>

    /// Publishes a temporary file beside the path of the result. The file stays if the name is `Occupied`.
    abstract PublishTemp:
        name: TaskName * temp: string * mayReplace: bool -> Result<unit, PublishFailure>

    /// Writes beside the results why there is none. An older result of the same source stays.
    abstract PublishError:
        name: TaskName * text: string * mayReplace: bool -> Result<unit, PublishFailure>

    /// Creates an empty temporary file beside the path of the result, for a result that arrives in pieces.
    abstract CreateTemp: name: TaskName -> Result<string, PublishFailure>

    /// The path of such a file where none can be created now.
    abstract TempFor: name: string -> string

    /// The content hash of a temporary file.
    abstract TryContentHash: path: string -> Result<ContentHash, PublishFailure>

    /// Whether the result of a name has exactly this content.
    abstract Holds: name: TaskName * hash: ContentHash -> bool

    /// <summary>The content hash of the result of a name, if the file has this mark.</summary>
    /// <param name="name">The name.</param>
    /// <param name="mark">The mark of a result.</param>
    /// <param name="isSameBoot">Whether there was no reboot since: otherwise a large file may be torn.</param>
    abstract Find: name: TaskName * mark: ResultMark * isSameBoot: bool -> ContentHash voption
