namespace FsScheduler.Folders

open System
open FsScheduler.Core

/// Why a result could not be put in its place. Nothing of it is there.
type PublishFailure =
    /// A folder has the name of the result, or a file that of a folder on the way.
    | NameTaken of path: string
    /// A folder on the way is a link.
    | OutsideResults of path: string
    /// A result, or an error, of another source has the name.
    | Occupied of path: string
    | NoSpace
    /// The disk itself fails, or has become read-only.
    | DiskBroken of reason: string
    | NotPermitted of reason: string
    | NameTooLong
    /// The temporary file is not where `CreateTemp` put it, or is gone.
    | TempLost of path: string
    | DiskFailed of reason: string

    /// Whether it says nothing of this result, and passes when the disk is well again.
    member failure.IsOfTheDisk =
        match failure with
        | NoSpace
        | DiskBroken _ -> true
        | NameTaken _
        | OutsideResults _
        | Occupied _
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
        | NoSpace -> "there is no space left for the result"
        | DiskBroken reason -> $"the disk fails: {reason}"
        | NotPermitted reason -> $"the result may not be written: {reason}"
        | NameTooLong -> "the name of the result is too long for this file system"
        | TempLost path -> $"the temporary file {path} is gone"
        | DiskFailed reason -> $"the result cannot be written: {reason}"

/// The folder of results, as whoever fills it sees it. From any thread.
type IResultFolder =
    /// Absolute.
    abstract Path: string

    /// What names have in common that are the same to the file system.
    abstract Fold: name: TaskName -> string

    /// <summary>The name that a result or an error was given which stands where this one's would.</summary>
    /// <returns>None: there is none, or only this name leads there.</returns>
    abstract NameThere: name: TaskName -> TaskName voption

    /// Whether there is a result, or an error, or anything else that has one of their names.
    abstract IsThere: name: TaskName -> bool

    /// Whether there is a result.
    abstract HasResult: name: TaskName -> bool

    /// Where a result goes.
    abstract TargetOf: name: TaskName -> string

    /// <summary>Publishes a result that is in memory: writes it under a temporary name, and renames it.</summary>
    /// <param name="name">Gives it its place.</param>
    /// <param name="result">Its bytes.</param>
    /// <param name="mayReplace">Over an older one; else, where one is there, it is `Occupied`.</param>
    abstract Publish:
        name: TaskName * result: ReadOnlyMemory<byte> * mayReplace: bool ->
            Result<unit, PublishFailure>

    /// Publishes what a temporary file beside the result's place holds. It is still there where the name is `Occupied`.
    abstract PublishTemp:
        name: TaskName * temp: string * mayReplace: bool -> Result<unit, PublishFailure>

    /// Says beside the results why there is none. An older result of the same source stays.
    abstract PublishError:
        name: TaskName * text: string * mayReplace: bool -> Result<unit, PublishFailure>

    /// An empty temporary file beside the result's place, for a result that arrives in pieces.
    abstract CreateTemp: name: TaskName -> Result<string, PublishFailure>

    /// The path of such a file, where none can be made now.
    abstract TempFor: name: string -> string

    /// What a temporary file holds.
    abstract TryContentHash: path: string -> Result<ContentHash, PublishFailure>

    /// Whether the result of a name holds exactly this.
    abstract Holds: name: TaskName * hash: ContentHash -> bool

    /// <summary>Whether the result of a name is that of a mark, and then what it holds.</summary>
    /// <param name="name">The name.</param>
    /// <param name="mark">Of a result.</param>
    /// <param name="isSameBoot">Whether the machine has run on since: else a large file may be torn.</param>
    abstract Find: name: TaskName * mark: ResultMark * isSameBoot: bool -> ContentHash voption
