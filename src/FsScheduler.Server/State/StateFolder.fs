namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol

/// The state folder, as the parts of a scheduler see it. Safe for any thread.
type IStateFolder =
    /// Whether there was no reboot since the folder was last locked: unflushed writes are still there.
    abstract IsSameBoot: bool

    /// Remembers the current boot; to be called once the losses of a reboot are in the journal.
    abstract NoteBoot: unit -> unit

    /// A new path for a payload too large for memory, which outlives the scheduler or is deleted by the next start.
    abstract NewSpool: isKept: bool -> string | null

    /// A new path for the result of a piece, which outlives the scheduler but not a power cut. Never reused.
    abstract NewPart: unit -> string | null

    /// Whether the payload at a path has to outlive the scheduler and a power cut.
    abstract IsKept: path: string -> bool

    /// The folder for data that a merge cannot hold in memory.
    abstract Temporary: string

    /// Deletes the payloads of earlier runs that are not needed.
    abstract Sweep: needed: IReadOnlySet<string> -> unit

/// <summary>The folder of one scheduler at a time: the journal, and payloads too large for memory.</summary>
/// <param name="path">The folder; created if missing.</param>
/// <exception cref="T:System.IO.IOException">The folder cannot be written, or another scheduler has it.</exception>
/// <exception cref="T:System.UnauthorizedAccessException">The rights forbid writing to the folder.</exception>
[<Sealed>]
type StateFolder(path: string) =
    let path = Path.GetFullPath path
    let spool = Path.Combine(path, "spool")

    do
        if File.Exists path then
            raise (IOException $"'{path}' is a file; name a folder with --state")

    // The owner of the folder decides who can put links and other journals into it.
    let refuseOthers (folder: string) =
        if OperatingSystem.IsLinux() then
            match Linux.statusOfTarget folder with
            | Ok status when status.owner <> Linux.user () ->
                raise (
                    IOException
                        $"the folder '{folder}' belongs to another user ({status.owner}); run as that user, or name another folder with --state"
                )
            | Ok _
            | Error _ -> ()

    /// Whether a scheduler makes an entry of this name in its state folder.
    let isOurs (entry: string) =
        let name = nonNull (Path.GetFileName entry)

        name = "lock"
        || name = "boot"
        || name = "spool"
        || name.StartsWith("journal.", StringComparison.Ordinal)

    let mutable notice: string | null = null

    let makePrivate () =
        if Rights.isOpenToOthers path then
            if Directory.EnumerateFileSystemEntries path |> Seq.forall isOurs then
                if Rights.close path then
                    notice <-
                        $"the folder '{path}' was open to other users; its rights are now its owner's alone"
                else
                    notice <-
                        $"other users may read the folder '{path}', whose file system has no rights"
            else
                // The rights of a home folder, or of /tmp, are left as they are.
                notice <-
                    $"others may look into the folder '{path}', which has more in it than the state of a scheduler: what the scheduler puts there is its owner's alone, but name a folder of its own with --state"

        for file in Directory.EnumerateFiles path do
            if isOurs file then
                Rights.close file |> ignore

        Rights.close spool |> ignore

        for file in Directory.EnumerateFiles spool do
            Rights.close file |> ignore

    do
        for folder in [ path; spool ] do
            if Directory.Exists folder then
                refuseOthers folder
            else
                Rights.createFolder folder

    let heldElsewhere () =
        raise (
            IOException
                $"another scheduler works with the folder '{path}'; end it, or name another folder with --state"
        )

    let fileLock =
        match FileLock.TryTake(Path.Combine(path, "lock"), FileMode.OpenOrCreate) with
        | Ok fileLock -> fileLock
        | Error HeldElsewhere -> heldElsewhere ()
        | Error(NoLocks reason) ->
            raise (
                IOException
                    $"the folder '{path}' cannot be locked ({reason}), and two schedulers would damage its journal; name a folder on a disk of this machine with --state"
            )

    // The folder is locked too: a deleted file 'lock' must not let a second scheduler in.
    let folderLock =
        match FileLock.TryTakeFolder path with
        | Ok folderLock -> Some folderLock
        | Error HeldElsewhere ->
            (fileLock :> IDisposable).Dispose()
            heldElsewhere ()
        | Error(NoLocks _) -> None

    let unlock () =
        folderLock
        |> Option.iter (fun folderLock -> (folderLock :> IDisposable).Dispose())

        (fileLock :> IDisposable).Dispose()

    do makePrivate ()

    // Otherwise the first large payload would find out. An empty file, since a full disk is waited for elsewhere.
    do
        let probe = Path.Combine(spool, ".probe")

        try
            File.WriteAllBytes(probe, [||])
            File.Delete probe
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            unlock ()
            raise (IOException $"the folder '{spool}' cannot be written: {error.Message}")

    let journal = Path.Combine(path, "journal.db")
    let checkEvery = TimeSpan.FromSeconds 1.0

    /// Device and inode of the journal; none if it is missing. If it cannot be examined, as before.
    let journalId (before: struct (uint64 * uint64) voption) =
        if OperatingSystem.IsLinux() then
            match Linux.inodeOf journal with
            | Ok inode -> ValueSome inode
            | Error errno when errno = Linux.Errno.ENOENT || errno = Linux.Errno.ENOTDIR ->
                ValueNone
            | Error _ -> before
        elif File.Exists journal then
            ValueSome struct (0UL, 0UL)
        else
            ValueNone

    let passing = ".passing"
    let part = ".part"
    let shared = ".shared"

    let numberOf (file: string) =
        match
            Int64.TryParse(
                Path.GetFileNameWithoutExtension(file.AsSpan()),
                NumberStyles.None,
                CultureInfo.InvariantCulture
            )
        with
        | true, number -> number
        | _ -> 0L

    // Files of earlier runs may be in use: their numbers are not given again.
    let mutable count =
        Directory.EnumerateFiles spool |> Seq.map numberOf |> Seq.fold max 0L

    let bootFile = Path.Combine(path, "boot")

    let boot =
        try
            File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim()
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ""

    let isSameBoot =
        boot <> "" && File.Exists bootFile && File.ReadAllText bootFile = boot

    /// The absolute path of the folder.
    member _.Path = path

    /// A warning about others who may read the folder, or null.
    member _.Notice = notice

    member _.IsSameBoot = isSameBoot

    /// Remembers the current boot. If that fails, the next start checks more than it needs to.
    member _.NoteBoot() =
        try
            use file =
                new FileStream(
                    bootFile,
                    Rights.options FileMode.Create FileAccess.Write FileShare.Read
                )

            file.Write(ReadOnlySpan(Text.Encoding.UTF8.GetBytes boot))
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    /// <summary>Waits until the open journal is no longer in the folder, because the folder was removed or replaced: no
    /// restart would find what is recorded from then on.</summary>
    /// <returns>The reason, as a sentence.</returns>
    member _.UntilGoneAsync(ct: CancellationToken) : Task<string> =
        task {
            use timer = new PeriodicTimer(checkEvery)
            let first = journalId ValueNone
            let mutable goneFor = 0

            // Twice in a row, since a folder may be replaced by renames and put back.
            while goneFor < 2 do
                let! _ = timer.WaitForNextTickAsync ct

                goneFor <-
                    match journalId first with
                    | ValueSome _ as now when now = first -> 0
                    | _ -> goneFor + 1

            return
                $"the folder '{path}' was removed or replaced while this scheduler worked with it: what it accepts would not outlive it. Start it again; it takes the inputs anew"
        }

    member _.NewSpool(isKept: bool) : string | null =
        let number = Interlocked.Increment &count
        Path.Combine(spool, (if isKept then string number else $"{number}{passing}"))

    /// A new path for the result of a piece, which outlives the scheduler but not a power cut: then the piece is run
    /// again. Never the same path twice, since the journal still names the deleted file.
    member _.NewPart() : string | null =
        Path.Combine(spool, $"{Guid.NewGuid():N}{part}")

    member _.IsKept(file: string) =
        file.StartsWith(spool, StringComparison.Ordinal)
        && not (file.EndsWith(passing, StringComparison.Ordinal))
        && not (file.EndsWith(part, StringComparison.Ordinal))

    /// Where a worker that shares this folder puts the result of an attempt. Made from the attempt alone, so that
    /// results begun before a restart are found.
    member _.SharedFile(attempt: Attempt) =
        Path.Combine(spool, $"{attempt.task}-{attempt.number}{shared}")

    /// <summary>The attempts that have such a file.</summary>
    /// <exception cref="T:System.IO.IOException">The folder cannot be read.</exception>
    member _.SharedAttempts() : Attempt[] = [|
        for file in Directory.EnumerateFiles(spool, "*" + shared) do
            let parts = (nonNull (Path.GetFileNameWithoutExtension file)).Split '-'

            if parts.Length = 2 then
                match Int64.TryParse parts[0], Int32.TryParse parts[1] with
                | (true, task), (true, number) -> { task = task * 1L<taskId>; number = number }
                | _ -> ()
    |]

    member _.Temporary = spool

    /// <summary>Deletes the payloads of earlier runs that are not needed, except results that workers may still be
    /// writing. To be called before any payload comes.</summary>
    /// <param name="needed">The paths to keep.</param>
    member _.Sweep(needed: IReadOnlySet<string>) =
        for file in Directory.EnumerateFiles spool do
            if not (needed.Contains file || file.EndsWith(shared, StringComparison.Ordinal)) then
                SpoolFile.delete file

    interface IStateFolder with
        member this.IsSameBoot = this.IsSameBoot
        member this.NoteBoot() = this.NoteBoot()
        member this.NewSpool isKept = this.NewSpool isKept
        member this.NewPart() = this.NewPart()
        member this.IsKept path = this.IsKept path
        member this.Temporary = this.Temporary
        member this.Sweep needed = this.Sweep needed

    interface IDisposable with
        member _.Dispose() = unlock ()
