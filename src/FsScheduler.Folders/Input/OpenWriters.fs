namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Platform

/// Whether somebody has a file open for writing.
type Writers =
    | NoWriter
    /// Who, as far as it is known.
    | Writer of who: string
    /// As the end of a sentence.
    | UnknownWriter of reason: string

/// Finds out whether somebody has a file open for writing: on Linux by a lease, which only the owner of a file, or root, can
/// have, and not on every file system; where there is none, by what the processes that may be looked at have open.
module OpenWriters =

    /// Descriptors that are looked at, at most.
    let private descriptorsMax = 200_000

    /// A look at all processes takes milliseconds, and serves the files of one batch.
    let private lookEvery = TimeSpan.FromMilliseconds 200.0

    let private somebody = "somebody has it open for writing"

    let private ofProcess (folder: string) =
        let name =
            try
                File.ReadAllText(folder + "/comm").Trim()
            with
            | :? IOException
            | :? UnauthorizedAccessException -> "?"

        $"process {Path.GetFileName folder} ({name}) has it open for writing"

    /// Whether the flags of an open file say that it may be written.
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
        | :? UnauthorizedAccessException -> [||] // ended, or another user's

    /// Files that are open for writing, with the process; our own has none of the inputs so.
    let private look () =
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

    let private looking = obj ()

    let mutable private looked =
        Environment.TickCount64 - int64 lookEvery.TotalMilliseconds

    let mutable private latest =
        Dictionary<struct (struct (uint * uint) * int64), string>()

    let private byProcesses (status: Linux.Status) =
        lock looking (fun () ->
            if Environment.TickCount64 - looked >= int64 lookEvery.TotalMilliseconds then
                latest <- look ()
                looked <- Environment.TickCount64

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

    /// Whether a lease that is refused means what it says: elsewhere a server would have to be asked.
    let private tellsOfLeases (fd: int) =
        match Linux.fileSystemTypeOfOpen fd with
        | ValueSome kind -> Linux.FileSystemType.isLocal kind
        | ValueNone -> false

    /// <summary>Of a descriptor that is open for reading.</summary>
    /// <param name="fd">Has a lease afterwards, if it can have one: to be released.</param>
    let internal ofOpen (fd: int) : Writers =
        match Linux.Lease.tryTake fd with
        | Ok() -> NoWriter
        | Error errno when errno = Linux.Errno.EAGAIN && tellsOfLeases fd -> Writer somebody
        | Error errno -> withoutLease fd errno

    /// Of a file. One that is not there, or cannot be read, has no writer: whoever reads it says so.
    let ofFile (path: string) : Writers =
        if OperatingSystem.IsLinux() then
            match Linux.openForReading path with
            | Error errno when errno = Linux.Errno.EAGAIN -> Writer somebody
            | Error _ -> NoWriter
            | Ok fd ->
                try
                    let writers = ofOpen fd
                    Linux.Lease.release fd
                    writers
                finally
                    Linux.close fd
        else
            UnknownWriter "this system does not tell"

    /// Who writes to a file, by name where that is to be found out.
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
