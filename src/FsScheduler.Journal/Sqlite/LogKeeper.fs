namespace FsScheduler.Journal

open System.Diagnostics
open System.IO
open SQLitePCL

/// <summary>Keeps the write-ahead log of a journal small: moves what is in it into the file, and tells when a reader
/// prevents it. The thread that writes calls it.</summary>
/// <param name="db">The connection that writes.</param>
/// <param name="gate">Held by the reader of this process while it reads.</param>
/// <param name="path">The file.</param>
/// <param name="most">Bytes that the log may have before it is told. Half of them, at most 8 MiB, are let come together before
/// they are moved.</param>
/// <param name="restrict">Closes a new file to others.</param>
/// <param name="held">Told what keeps the log from becoming smaller; nothing, when it is over.</param>
[<Sealed>]
type internal LogKeeper
    (
        db: Database,
        gate: obj,
        path: string,
        most: int64,
        restrict: string -> unit,
        held: string option -> unit
    ) =

    let pageBytes = db.Scalar "PRAGMA page_size"
    /// With more in the log the processor's caches help less, and its file is part of what a journal takes.
    let enough = min (most / 2L) (8L * 1024L * 1024L)
    /// Written since the log was last looked at.
    let mutable written = 0L
    let mutable lastLook = Stopwatch.GetTimestamp()
    let mutable isHeld = false
    /// The size at which it is told again.
    let mutable toldFrom = 0L

    let empty () =
        lock gate (fun () ->
            let struct (code, _, _) = db.Checkpoint raw.SQLITE_CHECKPOINT_TRUNCATE
            code)

    let over () =
        if isHeld then
            isHeld <- false
            toldFrom <- 0L
            held None

    let tell bytes reason =
        isHeld <- true

        if bytes >= toldFrom then
            toldFrom <- 2L * bytes
            held (Some $"{path}-wal has grown to {bytes >>> 20} MiB: {reason}")

    let look () =
        written <- 0L
        lastLook <- Stopwatch.GetTimestamp()
        let struct (code, pages, moved) = db.Checkpoint raw.SQLITE_CHECKPOINT_PASSIVE
        let bytes = int64 pages * (pageBytes + 24L)

        if code <> raw.SQLITE_OK && code &&& 0xff <> raw.SQLITE_BUSY then
            tell bytes $"{path} cannot be written (SQLite error {code})"
        elif bytes < most && not isHeld then
            ()
        elif bytes < most && moved = pages then
            over ()
        else if empty () = raw.SQLITE_OK then
            Reserve.make path restrict
            over ()
        else
            tell
                bytes
                "another program reads the journal in a transaction that it leaves open; end that program"

    /// So many bytes were written and committed.
    member _.Wrote(bytes: int64) =
        // A commit writes whole pages: of the rows, of those above them, and the first one.
        written <- written + bytes + 3L * pageBytes

        if
            written >= enough
            || isHeld && Stopwatch.GetElapsedTime(lastLook).TotalSeconds >= 1.0
        then
            look ()

    /// Empties the log of a journal whose disk is full, with the room in reserve. Whether that gave any.
    member _.Relieve() : bool =
        let hasLog = FileInfo(path + "-wal").Length > 0L

        let code =
            match empty () with
            | code when code = raw.SQLITE_OK || code &&& 0xff = raw.SQLITE_BUSY -> code
            | code -> if Reserve.give path then empty () else code

        if code = raw.SQLITE_OK then
            written <- 0L
            over ()

        code = raw.SQLITE_OK && hasLog
