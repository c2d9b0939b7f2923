namespace FsScheduler.Journal

open System.Collections.Generic
open System.IO

/// What was found in a journal.
type JournalReport = {
    /// What is damaged or missing, in sentences, the first of them; empty: the journal is whole.
    damage: string list
    /// Whole batches.
    batches: int64
    /// Events in whole batches.
    events: int64
    /// Events of which nothing is known, as far as numbers tell: those that are found to be missing, also by the mark, and
    /// those that an earlier repair has left out.
    lost: int64
    /// The number of the first event, and the one after the last.
    first: int64
    next: int64
}

/// Follows the numbers of the batches that are found.
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

    /// Numbers that are missing before a whole batch.
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

    /// Events that the mark knows of and the journal lacks.
    member _.Missing(mark: EndMark) : int64 =
        let missing = max 0L (mark.next - report.next)
        report <- { report with lost = report.lost + missing }
        missing

/// Whether a journal is whole, and what can be read of one that is not.
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
        // Before the journal: a scheduler that writes it goes on.
        let mark = EndMark.read path
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

    /// <summary>Reads all of a journal, also while a scheduler writes it: every number and every sum.</summary>
    /// <param name="path">The file; it is not changed.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">It is not there, is something else or of a newer version, or
    /// nothing of it can be read.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">The disk or the system does not let it be read.</exception>
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
            | Unreadable -> check.Add $"{EndMark.pathOf path} is damaged"
            | Missing -> ()

            for sentence in structure db do
                check.Add $"SQLite finds: {sentence}"

            check.Report)
