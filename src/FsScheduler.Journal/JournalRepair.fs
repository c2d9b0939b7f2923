namespace FsScheduler.Journal

open System
open System.IO

/// The result of a repair.
type JournalRepaired = {
    /// The new file.
    path: string
    /// What the new file has, and what of the old one is lost.
    report: JournalReport
}

/// Makes a whole journal from a damaged one.
module JournalRepair =

    /// `journal.repaired.db` of `journal.db`.
    let targetOf (path: string) : string =
        Path.ChangeExtension(path, $".repaired{Path.GetExtension path}") |> nonNull

    /// Writes a new file and its mark; a failure leaves neither.
    let private writeNew (target: string) (restrict: string -> unit) (fill: Database -> 'T) : 'T =
        SqliteFile.guard target (fun () ->
            try
                use db = new Database(target, OpenMode.Create)
                SqliteFile.create db
                restrict target
                db.Execute "BEGIN"
                let value = fill db
                db.Execute "COMMIT"
                SqliteFile.setMark target db
                value
            with _ ->
                File.Delete target
                File.Delete(target + "-journal")
                reraise ())

    /// <summary>Copies every whole batch into a new file beside the old one. Lost events become `Batch.lost`, so that
    /// numbers are continuous for every reader and none is given twice.</summary>
    /// <param name="path">The damaged file, which is not changed, nor is its WAL.</param>
    /// <param name="restrict">Removes the rights of other users on a file.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">Nothing can be read, or the new file exists.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">A file cannot be read or written.</exception>
    let run (path: string) (restrict: string -> unit) : JournalRepaired =
        let target = targetOf path

        if File.Exists target then
            SqliteFile.refuse target "is there already: move it away first"

        JournalCheck.opened path (fun source _ mark ->
            let check = NumberCheck()

            writeNew target restrict (fun copy ->
                use insert = copy.Prepare BatchRow.insertion

                let fill first next =
                    for batch in SqliteFile.lostBatches first next check.LastAt do
                        BatchRow.write insert batch (Batch.sum batch)

                for salvaged in Salvage.read source do
                    match salvaged with
                    | Whole batch ->
                        if check.Report.batches > 0L then
                            fill check.Report.next batch.first

                        BatchRow.write insert batch (Batch.sum batch)
                        check.Found batch |> ignore
                    | Damaged _
                    | Unreachable _ -> check.Found salvaged

                match mark with
                | Found mark ->
                    let missing = check.Missing mark

                    if missing > 0L then
                        fill check.Report.next mark.next

                        check.Add
                            $"the last events, {check.Report.next} to {mark.next - 1L}, after {BatchRow.timeText check.LastAt}, are lost"
                | Missing
                | Unreadable -> ()

                if check.Report.batches = 0L then
                    SqliteFile.refuse path "has nothing that can be copied")

            { path = target; report = check.Report })
