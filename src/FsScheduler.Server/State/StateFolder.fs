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

/// The scheduler's own folder, as its parts see it. From any thread.
type IStateFolder =
    /// Whether the machine has run on since the folder was last held: what a process wrote then is still there, flushed or
    /// not.
    abstract IsSameBoot: bool

    /// What the disk was found to lack is recorded by now: from here on the machine has run on.
    abstract NoteBoot: unit -> unit

    /// A path for a payload that is too large for memory, which has to outlive the scheduler, or is gone with this run.
    abstract NewSpool: isKept: bool -> string | null

    /// A path for the result of a piece. It outlives the scheduler, though not a power cut. No other was ever called the same.
    abstract NewPart: unit -> string | null

    /// Whether a payload of this path has to outlive the scheduler, and a power cut.
    abstract IsKept: path: string -> bool

    /// For what a merge cannot hold in memory.
    abstract Temporary: string

    /// Deletes what an earlier run left and nobody needs.
    abstract Sweep: needed: IReadOnlySet<string> -> unit

/// <summary>The scheduler's own folder, held by one scheduler at a time: the journal, and the payloads that are too
/// large for memory.</summary>
/// <param name="path">Made if it is missing.</param>
/// <exception cref="T:System.IO.IOException">It cannot be written, or another scheduler holds it.</exception>
/// <exception cref="T:System.UnauthorizedAccessException">It may not be written.</exception>
[<Sealed>]
type StateFolder(path: string) =
    let path = Path.GetFullPath path
    let spool = Path.Combine(path, "spool")

    do
        if File.Exists path then
            raise (IOException $"'{path}' is a file; name a folder with --state")

    // Whose it is decides who can put links and other journals into it.
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

    /// What a scheduler puts into its folder.
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
                    notice <- $"others could look into the folder '{path}': not any more"
                else
                    notice <-
                        $"others may look into the folder '{path}', whose file system knows no rights"
            else
                // A home, or /tmp: not ours to close.
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

    // The folder too: who deletes the file 'lock' does not let a second scheduler in.
    let folderLock =
        match FileLock.TryTakeFolder path with
        | Ok folderLock -> Some folderLock
        | Error HeldElsewhere ->
            (fileLock :> IDisposable).Dispose()
            heldElsewhere ()
        | Error(NoLocks _) -> None

    let letGo () =
        folderLock
        |> Option.iter (fun folderLock -> (folderLock :> IDisposable).Dispose())

        (fileLock :> IDisposable).Dispose()

    do makePrivate ()

    // Else the first large payload would find out. An empty file, so that a full disk is waited for where it matters.
    do
        let probe = Path.Combine(spool, ".probe")

        try
            File.WriteAllBytes(probe, [||])
            File.Delete probe
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            letGo ()
            raise (IOException $"the folder '{spool}' cannot be written: {error.Message}")

    let journal = Path.Combine(path, "journal.db")
    let lookEvery = TimeSpan.FromSeconds 1.0

    /// Which file the journal is now. None: there is none. What cannot be looked at for now is as it was.
    let lookAtJournal (before: struct (uint64 * uint64) voption) =
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

    // What an earlier run left may still be somebody's: its numbers are not given again.
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

    /// The folder, absolute.
    member _.Path = path

    /// What there is to say about who may look into it; null: nothing.
    member _.Notice = notice

    /// Whether the machine has run on since the folder was last held: what a process wrote then is still there, flushed
    /// or not. False where the system does not tell.
    member _.IsSameBoot = isSameBoot

    /// What the disk was found to lack is recorded by now: from here on the machine has run on. Where it cannot be noted,
    /// the next start looks closer than it needs to.
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

    /// <summary>Waits until the journal, which is open, is not in the folder any more: somebody has removed or replaced the
    /// folder, and what is recorded would be found by nobody.</summary>
    /// <returns>A sentence.</returns>
    member _.UntilGoneAsync(ct: CancellationToken) : Task<string> =
        task {
            use timer = new PeriodicTimer(lookEvery)
            let first = lookAtJournal ValueNone
            let mutable goneFor = 0

            // Twice in a row: a folder may be replaced by renames, and put back.
            while goneFor < 2 do
                let! _ = timer.WaitForNextTickAsync ct

                goneFor <-
                    match lookAtJournal first with
                    | ValueSome _ as now when now = first -> 0
                    | _ -> goneFor + 1

            return
                $"the folder '{path}' was removed or replaced while this scheduler worked with it: what it accepts would not outlive it. Start it again; it takes the inputs anew"
        }

    /// <summary>A path for a payload that is too large for memory.</summary>
    /// <param name="isKept">Whether it has to outlive the scheduler; else it is gone with this run.</param>
    member _.NewSpool(isKept: bool) : string | null =
        let number = Interlocked.Increment &count
        Path.Combine(spool, (if isKept then string number else $"{number}{passing}"))

    /// A path for the result of a piece. It outlives the scheduler, though not a power cut: then its piece is run again.
    /// The journal goes on to name it when it is deleted for that, so no other part is ever called the same.
    member _.NewPart() : string | null =
        Path.Combine(spool, $"{Guid.NewGuid():N}{part}")

    /// Whether a payload of this path has to outlive the scheduler, and a power cut.
    member _.IsKept(file: string) =
        file.StartsWith(spool, StringComparison.Ordinal)
        && not (file.EndsWith(passing, StringComparison.Ordinal))
        && not (file.EndsWith(part, StringComparison.Ordinal))

    /// Where a worker that sees this folder puts the result of an attempt. Told from the attempt alone: also what was
    /// begun before a restart is found.
    member _.SharedFile(attempt: Attempt) =
        Path.Combine(spool, $"{attempt.task}-{attempt.number}{shared}")

    /// <summary>The attempts of which there are such files.</summary>
    /// <exception cref="T:System.IO.IOException">The folder cannot be read.</exception>
    member _.SharedAttempts() : Attempt[] = [|
        for file in Directory.EnumerateFiles(spool, "*" + shared) do
            let parts = (nonNull (Path.GetFileNameWithoutExtension file)).Split '-'

            if parts.Length = 2 then
                match Int64.TryParse parts[0], Int32.TryParse parts[1] with
                | (true, task), (true, number) -> { task = task * 1L<taskId>; number = number }
                | _ -> ()
    |]

    /// For what a merge cannot hold in memory.
    member _.Temporary = spool

    /// <summary>Deletes what an earlier run left and nobody needs, but for results that workers may still be writing.
    /// To be called before any payload comes.</summary>
    /// <param name="needed">The paths that are needed.</param>
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
        member _.Dispose() = letGo ()
