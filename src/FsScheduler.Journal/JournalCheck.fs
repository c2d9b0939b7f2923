namespace FsScheduler.Journal

open System.Collections.Generic
open System.IO

/// The result of a check of a journal.
type JournalReport = {
    /// The first twenty damages, in sentences; empty: the journal is whole.
    damage: string list
    /// Whole batches.
    batches: int64
    /// Events in whole batches.
    events: int64
    /// Lost events, by their numbers: gaps, events missing before the mark, and those that a repair left out.
    lost: int64
    /// The number of the first event, and the one after the last event.
    first: int64
    next: int64
}

/// Collects a report from the batches that are found.
[<Sealed>]
type internal NumberCheck() =
    let damageMax = 20
    let damage = List<string>()

    let mutable report = {
        damage = []
        batches = 0L
        events = 0L
        lost = 0L
        first = 1L
        next = 1L
    }

    let mutable lastAt = 0L

    member _.Add(sentence: string) =
        if damage.Count < damageMax then
            damage.Add sentence

    /// The time of the last whole batch.
    member _.LastAt = lastAt

    member _.Report: JournalReport = { report with damage = List.ofSeq damage }

    /// Counts a whole batch, and returns how many events are missing before it.
    member check.Found(batch: Batch) : int64 =
        let missing =
            if report.batches = 0L then
                report <- { report with first = batch.first }
                0L
            else
                batch.first - report.next

        if missing > 0L then
            check.Add
                $"events {report.next} to {batch.first - 1L}, between {BatchRow.timeText lastAt} and {BatchRow.timeText batch.at}, are lost"

        let isLost = Batch.isLost batch

        report <- {
            report with
                batches = report.batches + 1L
                events = report.events + (if isLost then 0L else int64 batch.count)
                lost = report.lost + missing + (if isLost then int64 batch.count else 0L)
                next = Batch.next batch
        }

        lastAt <- batch.at
        missing

    member check.Found(salvaged: Salvaged) =
        match salvaged with
        | Whole batch -> check.Found batch |> ignore
        | Damaged(first, at) ->
            check.Add
                $"the batch at event {first}, of {BatchRow.timeText at}, is not what was written"
        | Unreachable reason ->
            check.Add
                $"what follows event {report.next - 1L}, of {BatchRow.timeText lastAt}, cannot be read: {reason}"

    /// Counts and returns the events up to the mark that the journal lacks.
    member _.Missing(mark: HighWaterMark) : int64 =
        let missing = max 0L (mark.next - report.next)
        report <- { report with lost = report.lost + missing }
        missing

/// Checks a journal for damage and loss.
module JournalCheck =

    let private structure (db: Database) : string list =
        try
            use rows = db.Prepare "PRAGMA quick_check(10)"

            [
                while rows.Next() do
                    match rows.GetText 0 with
                    | "ok" -> ()
                    | sentence -> sentence
            ]
        with SqliteError(_, message) -> [ message ]

    /// Opens the file of a journal to read all of it.
    let internal opened (path: string) (look: Database -> bool -> MarkFound -> 'T) : 'T =
        if not (File.Exists path) then
            SqliteFile.refuse path "is not there"

        SqliteFile.checkHeader path
        // The mark is read before the journal, which a scheduler may be writing.
        let mark = HighWaterMark.read path
        let log = FileInfo(path + "-wal")
        let hasLog = log.Exists && log.Length > 0L

        SqliteFile.guard path (fun () ->
            use db = SqliteFile.openToSalvage path

            if not (SqliteFile.hasTables db) then
                SqliteFile.refuse path "is empty"

            look db hasLog mark)

    let private lossOf path db hasLog mark =
        try
            SqliteFile.lossOf path db hasLog mark
        with SqliteError(_, message) ->
            Some $"cannot be read to its end: {message}"

    /// <summary>Checks every number and sum of a journal, also while a scheduler writes it.</summary>
    /// <param name="path">The file, which is not changed.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The file is missing, is no journal, is of a newer
    /// version, or nothing of it can be read.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">The file cannot be read.</exception>
    let run (path: string) : JournalReport =
        opened path (fun db hasLog mark ->
            let check = NumberCheck()

            for salvaged in Salvage.read db do
                check.Found salvaged

            match mark with
            | Found mark ->
                check.Missing mark |> ignore

                match lossOf path db hasLog mark with
                | Some loss -> check.Add $"the journal {loss}"
                | None -> ()
            | Unreadable -> check.Add $"{HighWaterMark.pathOf path} is damaged"
            | Missing -> ()

            for sentence in structure db do
                check.Add $"SQLite finds: {sentence}"

            check.Report)
