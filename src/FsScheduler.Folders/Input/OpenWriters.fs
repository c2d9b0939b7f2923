namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Platform

/// Whether somebody has a file open for writing.
type Writers =
    | NoWriter
    /// The process, as far as it is known.
    | Writer of who: string
    /// The reason, as the end of a sentence.
    | UnknownWriter of reason: string

/// Finds out whether somebody has a file open for writing. On Linux by a lease, which only the owner of a file, or
/// root, may take, and not on every file system; without one, from the open files of other processes in `/proc`.
module OpenWriters =

    /// Descriptors examined in one search of `/proc`, at most.
    let private descriptorsMax = 200_000

    /// A search of `/proc` takes milliseconds, and serves the files of one batch.
    let private searchEvery = TimeSpan.FromMilliseconds 200.0

    let private somebody = "somebody has it open for writing"

    let private ofProcess (folder: string) =
        let name =
            try
                File.ReadAllText(folder + "/comm").Trim()
            with
            | :? IOException
            | :? UnauthorizedAccessException -> "?"

        $"process {Path.GetFileName folder} ({name}) has it open for writing"

    /// Whether the flags of an open file allow writing.
    let private mayWrite (info: string) =
        try
            File.ReadLines info
            |> Seq.tryFind (fun line -> line.StartsWith("flags:", StringComparison.Ordinal))
            |> Option.exists (fun line -> Convert.ToInt32(line.Substring(6).Trim(), 8) &&& 3 <> 0)
        with
        | :? IOException
        | :? UnauthorizedAccessException
        | :? FormatException -> false

    let private entries (folder: string) =
        try
            Directory.GetFileSystemEntries folder
        with
        | :? IOException
        | :? UnauthorizedAccessException -> [||] // the process has ended, or is another user's

    /// Files open for writing, each with its process. This process opens no input for writing.
    let private search () =
        let found = Dictionary<struct (struct (uint * uint) * int64), string>()
        let mutable left = descriptorsMax

        let processes =
            entries "/proc"
            |> Array.filter (fun path ->
                match Int32.TryParse(Path.GetFileName path) with
                | true, id -> id <> Environment.ProcessId
                | _ -> false)

        for folder in processes do
            for descriptor in entries (folder + "/fd") do
                left <- left - 1

                if left > 0 then
                    match Linux.linkText descriptor with
                    | Ok text when
                        text.StartsWith("/", StringComparison.Ordinal)
                        && not (text.StartsWith("/dev/", StringComparison.Ordinal))
                        && mayWrite $"{folder}/fdinfo/{Path.GetFileName descriptor}"
                        ->
                        match Linux.statusOfTarget descriptor with
                        | Ok status when status.kind = Linux.S_IFREG ->
                            found.TryAdd(struct (status.device, status.inode), folder) |> ignore
                        | Ok _
                        | Error _ -> ()
                    | Ok _
                    | Error _ -> ()

        found

    let private searching = obj ()

    let mutable private searchedAt =
        Environment.TickCount64 - int64 searchEvery.TotalMilliseconds

    let mutable private latest =
        Dictionary<struct (struct (uint * uint) * int64), string>()

    let private byProcesses (status: Linux.Status) =
        lock searching (fun () ->
            if Environment.TickCount64 - searchedAt >= int64 searchEvery.TotalMilliseconds then
                latest <- search ()
                searchedAt <- Environment.TickCount64

            match latest.TryGetValue(struct (status.device, status.inode)) with
            | true, folder -> Writer(ofProcess folder)
            | _ -> NoWriter)

    let private withoutLease (fd: int) errno =
        match Linux.statusOfOpen fd with
        | Error errno -> UnknownWriter(Linux.message errno)
        | Ok status ->
            match byProcesses status with
            | NoWriter -> UnknownWriter(Linux.message errno)
            | found -> found

    /// Whether a refused lease means a writer; on network file systems the server would have to be asked.
    let private hasReliableLeases (fd: int) =
        match Linux.fileSystemTypeOfOpen fd with
        | ValueSome kind -> Linux.FileSystemType.isLocal kind
        | ValueNone -> false

    /// <summary>Whether an open file has a writer.</summary>
    /// <param name="fd">Open for reading. Has a lease afterwards where possible, which the caller releases.</param>
    let internal ofOpen (fd: int) : Writers =
        match FileLease.tryTake fd with
        | Ok() -> NoWriter
        | Error errno when errno = Linux.Errno.EAGAIN && hasReliableLeases fd -> Writer somebody
        | Error errno -> withoutLease fd errno

    /// Whether a file has a writer. A missing or unreadable file has none: its reader will report that.
    let ofFile (path: string) : Writers =
        if OperatingSystem.IsLinux() then
            match Linux.openForReading path with
            | Error errno when errno = Linux.Errno.EAGAIN -> Writer somebody
            | Error _ -> NoWriter
            | Ok fd ->
                try
                    let writers = ofOpen fd
                    FileLease.release fd
                    writers
                finally
                    Linux.close fd
        else
            UnknownWriter "this system does not tell"

    /// The writer of a file for people, by process where that can be found out.
    let describe (path: string) : string =
        if OperatingSystem.IsLinux() then
            match Linux.statusOfTarget path with
            | Ok status ->
                match byProcesses status with
                | Writer who -> who
                | NoWriter
                | UnknownWriter _ -> somebody
            | Error _ -> somebody
        else
            somebody
