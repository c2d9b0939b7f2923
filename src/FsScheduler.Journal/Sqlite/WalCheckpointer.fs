namespace FsScheduler.Journal

open System.Diagnostics
open System.IO
open SQLitePCL

/// <summary>Keeps the write-ahead log of a journal small by checkpoints, and tells when a reader prevents them. Called
/// by the writing thread.</summary>
/// <param name="db">The writing connection.</param>
/// <param name="readLock">Held by the reader of this process while it reads.</param>
/// <param name="path">The file.</param>
/// <param name="most">Bytes of the WAL from which `blocked` is called. Checkpoints come at half of them, or 8 MiB.</param>
/// <param name="restrict">Removes the rights of other users on a new file.</param>
/// <param name="blocked">Told why the WAL does not shrink; None when it does again.</param>
[<Sealed>]
type internal WalCheckpointer
    (
        db: Database,
        readLock: obj,
        path: string,
        most: int64,
        restrict: string -> unit,
        blocked: string option -> unit
    ) =

    let pageBytes = db.Scalar "PRAGMA page_size"
    /// A larger WAL uses the processor's caches less, and counts as size of the journal.
    let enough = min (most / 2L) (8L * 1024L * 1024L)
    /// Bytes written since the last checkpoint.
    let mutable written = 0L
    let mutable lastLook = Stopwatch.GetTimestamp()
    let mutable isBlocked = false
    /// The size at which `blocked` is called again.
    let mutable toldFrom = 0L

    let empty () =
        lock readLock (fun () ->
            let struct (code, _, _) = db.Checkpoint raw.SQLITE_CHECKPOINT_TRUNCATE
            code)

    let over () =
        if isBlocked then
            isBlocked <- false
            toldFrom <- 0L
            blocked None

    let tell bytes reason =
        isBlocked <- true

        if bytes >= toldFrom then
            toldFrom <- 2L * bytes
            blocked (Some $"{path}-wal has grown to {bytes >>> 20} MiB: {reason}")

    let look () =
        written <- 0L
        lastLook <- Stopwatch.GetTimestamp()
        let struct (code, pages, moved) = db.Checkpoint raw.SQLITE_CHECKPOINT_PASSIVE
        let bytes = int64 pages * (pageBytes + 24L)

        if code <> raw.SQLITE_OK && code &&& 0xff <> raw.SQLITE_BUSY then
            tell bytes $"{path} cannot be written (SQLite error {code})"
        elif bytes < most && not isBlocked then
            ()
        elif bytes < most && moved = pages then
            over ()
        else if empty () = raw.SQLITE_OK then
            SpaceReserve.make path restrict
            over ()
        else
            tell
                bytes
                "another program reads the journal in a transaction that it leaves open; end that program"

    /// Counts committed bytes, and checkpoints when there are enough.
    member _.Wrote(bytes: int64) =
        // A commit writes whole pages: of the rows, of their parents, and the first one.
        written <- written + bytes + 3L * pageBytes

        if
            written >= enough
            || isBlocked && Stopwatch.GetElapsedTime(lastLook).TotalSeconds >= 1.0
        then
            look ()

    /// Empties the WAL on a full disk, deleting the reserve if needed. Returns whether that made space.
    member _.Relieve() : bool =
        let hasLog = FileInfo(path + "-wal").Length > 0L

        let code =
            match empty () with
            | code when code = raw.SQLITE_OK || code &&& 0xff = raw.SQLITE_BUSY -> code
            | code -> if SpaceReserve.release path then empty () else code

        if code = raw.SQLITE_OK then
            written <- 0L
            over ()

        code = raw.SQLITE_OK && hasLog
