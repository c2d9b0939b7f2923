namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.IO
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Simulation.Tests

/// What is written to a file, behind what it has.
type private SimStream(disk: SimDisk, path: string) =
    inherit Stream()
    let mutable length = 0L

    override _.Write(bytes: ReadOnlySpan<byte>) =
        disk.Append(path, Content.ofBytes (bytes.ToArray()))
        length <- length + int64 bytes.Length

    override stream.Write(buffer: byte[], offset: int, count: int) =
        stream.Write(ReadOnlySpan(buffer, offset, count))

    override _.CanWrite = true
    override _.CanRead = false
    override _.CanSeek = false
    override _.Length = length

    override _.Position
        with get () = length
        and set _ = raise (NotSupportedException())

    override _.Flush() = ()
    override _.Read(_: byte[], _: int, _: int) : int = raise (NotSupportedException())
    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())

/// <summary>Files of payloads on the simulated disk.</summary>
/// <param name="disk">Has them.</param>
/// <param name="chance">Tells whether there is room for smaller ones on a full disk.</param>
/// <param name="fails">Whether the next reading fails.</param>
[<Sealed>]
type SimSpool(disk: SimDisk, chance: Chance, fails: unit -> bool) =
    interface ISpool with
        member _.Has path = not (isNull (disk.Find path))

        member _.Open path =
            if fails () then
                raise (IOException "I/O error")

            match disk.Find path with
            | null -> raise (FileNotFoundException path)
            | file -> new MemoryStream(Content.toBytes file.Content, false)

        member _.Create path =
            disk.Create path
            new HashedFile(new SimStream(disk, path), (fun () -> disk.Flush path))

        member _.Delete path = disk.Delete path
        member _.HasRoomForOthers _ = not disk.IsFull || chance.Percent 50

/// <summary>The folder of results.</summary>
/// <param name="disk">Has them.</param>
/// <param name="newName">A name that no other file has, in a folder.</param>
/// <param name="published">Told of each rename: the name, and what stands there.</param>
[<Sealed>]
type SimResults(disk: SimDisk, newName: string -> string, published: TaskName -> string -> unit) =
    let target (name: TaskName) = $"out/{name}"

    let put (name: TaskName) temporary mayReplace : Result<unit, PublishFailure> =
        if not mayReplace && not (isNull (disk.Find(target name))) then
            Error(Occupied(target name))
        elif isNull (disk.Find temporary) then
            Error(TempLost temporary)
        elif disk.Rename(temporary, target name) then
            published name (nonNull (disk.Find(target name))).Content
            disk.Boundary()
            Ok()
        else
            disk.Delete temporary
            Error(DiskFailed "the rename failed")

    let temporary () = newName "out/.tmp"

    let hashOf (file: SimFile) = Content.hashOf file.Content

    interface IResultFolder with
        member _.Path = "out"
        member _.Fold name = string name
        member _.NameThere _ = ValueNone
        member _.IsThere name = not (isNull (disk.Find(target name)))
        member _.HasResult name = not (isNull (disk.Find(target name)))
        member _.TargetOf name = target name

        member _.Publish(name, result, mayReplace) =
            let temporary = temporary ()

            try
                disk.Write(temporary, Content.ofBytes (result.ToArray()))
                let outcome = put name temporary mayReplace

                if outcome.IsError then
                    disk.Delete temporary

                outcome
            with error when Disk.isFull error ->
                disk.Delete temporary
                Error NoSpace

        member _.PublishTemp(name, temporary, mayReplace) = put name temporary mayReplace
        member _.PublishError(_, _, _) = Ok()

        member _.CreateTemp _ =
            let path = temporary ()
            disk.Create path
            Ok path

        member _.TempFor _ = temporary ()

        member _.TryContentHash path =
            match disk.Find path with
            | null -> Error(TempLost path)
            | file -> Ok(hashOf file)

        member _.Holds(name, hash) =
            match disk.Find(target name) with
            | null -> false
            | file -> hashOf file = hash

        member _.Find(name, mark, isSameBoot) =
            match mark, disk.Find(target name) with
            | ResultMark.Unmarked, _
            | _, null -> ValueNone
            | ResultMark.Holding hash, file ->
                if hashOf file = hash then ValueSome hash else ValueNone
            | ResultMark.Written(size, modified), file ->
                if isSameBoot && file.Modified = modified && Content.sizeOf file.Content = size then
                    ValueSome(hashOf file)
                else
                    ValueNone

/// The folder of inputs.
[<Sealed>]
type SimInputs(outside: SimEnvironment, deletes: bool) =
    let stateOf (name: TaskName) (version: FileVersion) =
        match outside.Files.TryGetValue(string name) with
        | true, there when there = version.modified -> InputState.Current
        | true, _ -> InputState.Replaced
        | _ -> InputState.OutOfSight

    interface IInputFolder with
        member _.IsInput name = outside.Files.ContainsKey(string name)
        member _.StateOf(name, version) = stateOf name version

        member _.Finish(name, version) =
            match stateOf name version with
            | _ when not deletes -> Ok()
            | InputState.Current ->
                outside.Files.Remove(string name) |> ignore
                Ok()
            | InputState.Replaced -> Error Changed
            | InputState.OutOfSight -> Error Gone

/// The scheduler's own folder, as long as the disk lives.
[<Sealed>]
type SimState(disk: SimDisk) =
    let mutable count = 0

    let next (name: string) : string | null =
        count <- count + 1
        $"spool/{name}{count}"

    member _.NewName(folder: string) =
        count <- count + 1
        $"{folder}{count}"

    /// Whether the machine has run on since a scheduler noted that it runs.
    member val IsSameBoot = true with get, set

    interface IStateFolder with
        member state.IsSameBoot = state.IsSameBoot
        member state.NoteBoot() = state.IsSameBoot <- true
        member _.NewSpool isKept = next (if isKept then "r" else "p")
        member _.NewPart() = next "part"

        member _.IsKept path =
            path.StartsWith("spool/r", StringComparison.Ordinal)

        member _.Temporary = "spool"

        member _.Sweep needed =
            for name in disk.Below "spool/" do
                if not (needed.Contains name) then
                    disk.Delete name
