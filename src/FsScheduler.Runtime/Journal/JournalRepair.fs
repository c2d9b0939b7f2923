namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.IO
open Microsoft.Data.Sqlite
open FsScheduler.Runtime.Files

/// What became of a repair.
type JournalRepaired = {
    /// The new file. The old one is as it was.
    path: string
    /// Rows that were taken over, by table.
    rows: (string * int64) list
    /// Rows that were there, and not what had been written.
    wrong: int64
    /// How often something could not be read at all.
    gaps: int
    /// What that means for whoever uses the new file, as sentences.
    missing: string list
}

/// Takes over what can be read of a damaged journal.
module JournalRepair =

    /// Tables by row number, and the others, which are read until they cannot be.
    let private numbered = [ "task"; "event"; "finished"; "delivered" ]
    let private named = [ "file"; "meta"; "result" ]

    let private key table =
        match table with
        | "task" -> "id"
        | "event" -> "number"
        | _ -> "task"

    let private newPath (path: string) what =
        let folder = nonNull (Path.GetDirectoryName(Path.GetFullPath path))

        Seq.append
            [ $"journal.{what}.db" ]
            (Seq.initInfinite (fun n -> $"journal.{what}-{n + 2}.db"))
        |> Seq.map (fun name -> Path.Combine(folder, name))
        |> Seq.find (File.Exists >> not)

    /// By name: an older version has fewer of them.
    let private columns (source: SqliteConnection) table =
        use command = source.CreateCommand(CommandText = $"SELECT * FROM {table} LIMIT 0")
        use rows = command.ExecuteReader()
        List.init rows.FieldCount rows.GetName

    /// <summary>A copy that SQLite can open: with what the log has, and a first page that makes sense.</summary>
    /// <returns>How many pages of the log could not be read.</returns>
    let private copyTo (copy: string) (path: string) : int =
        let wrong =
            use source =
                new FileStream(
                    path,
                    FileMode.Open,
                    FileAccess.Read,
                    FileShare.ReadWrite ||| FileShare.Delete
                )

            use target =
                new FileStream(
                    copy,
                    Rights.options FileMode.CreateNew FileAccess.ReadWrite FileShare.Read
                )

            source.CopyTo target
            let wrong = WriteAheadLog.applyTo path target JournalHead.pageBytes

            if target.Length > 20L then
                // No log belongs to it.
                target.Position <- 18L
                target.Write(ReadOnlySpan [| 1uy; 1uy |])

            wrong

        if not (JournalHead.isRight copy) then
            JournalHead.graft copy

        wrong

    let private repairInto (target: string) (path: string) : JournalRepaired =
        let mutable wrong = 0L
        let mutable gaps = 0
        /// Tables of which something is not taken over.
        let lost = HashSet<string>()

        use source =
            try
                JournalFile.openToRepair path
            with :? IOException as error ->
                raise (JournalRefused $"nothing of {path} can be read: {error.Message}")

        /// Trouble with the new file is none of the old one.
        let write (action: unit -> 'T) : 'T =
            try
                action ()
            with
            | SqliteTrouble(_, message) ->
                raise (IOException $"{target} cannot be written: {message}")
            | :? SqliteException as error ->
                raise (IOException $"{target} cannot be written: {error.Message}")

        use copy = write (fun () -> JournalFile.openNew target)
        write (fun () -> Schema.execute copy "BEGIN")

        let copyTable table =
            let columns = columns source table
            let places = columns |> Seq.map (fun _ -> "?") |> String.concat ","
            let names = String.concat "," columns

            use insert =
                new Statement(
                    nonNull copy.Handle,
                    $"INSERT OR REPLACE INTO {table}({names}) VALUES({places})"
                )

            let mutable count = 0L
            let mutable last = 0L
            // Over what cannot be read, with longer and longer steps.
            let mutable skip = 0L
            let mutable goOn = true

            while goOn do
                let before = last

                try
                    let from =
                        if List.contains table named then
                            ""
                        else
                            $"WHERE {key table} > {last + skip} ORDER BY {key table}"

                    use rows = new Statement(nonNull source.Handle, $"SELECT * FROM {table} {from}")

                    while rows.Next() do
                        last <- rows.GetInt 0

                        if rows.IsSumRight() then
                            write (fun () ->
                                rows.CopyTo insert
                                insert.Run())

                            count <- count + 1L
                        else
                            wrong <- wrong + 1L
                            lost.Add table |> ignore

                    goOn <- false
                with SqliteTrouble _ ->
                    gaps <- gaps + 1
                    lost.Add table |> ignore
                    skip <- if last > before then 1L else max 1L (2L * skip)
                    goOn <- List.contains table numbered && skip < (1L <<< 50)

            table, count

        let rows =
            try
                [
                    for table in numbered @ named do
                        if JournalHead.hasTable source table then
                            copyTable table
                ]
            with :? SqliteException as error ->
                raise (JournalRefused $"nothing of {path} can be read: {error.Message}")

        write (fun () ->
            JournalFile.noteWhole copy
            Schema.execute copy "COMMIT")

        let missing = [
            if lost.Contains "event" || lost.Contains "finished" then
                "what happened to some tasks could not be read: tasks that were finished may run again"
        ]

        { path = target; rows = rows; wrong = wrong; gaps = gaps; missing = missing }

    let private repairCopy (target: string) (path: string) : JournalRepaired =
        let copy = newPath path "being-read"

        try
            let wrong = copyTo copy path
            let repaired = repairInto target copy

            if wrong = 0 then
                repaired
            else
                {
                    repaired with
                        gaps = repaired.gaps + wrong
                        missing =
                            $"{wrong} pages of {WriteAheadLog.pathOf path} could not be read: some of what was accepted last may be missing, and tasks that were finished may run again"
                            :: repaired.missing
                }
        finally
            for file in [ copy; copy + "-journal"; copy + "-wal"; copy + "-shm" ] do
                File.Delete file

    /// <summary>Writes all that can be read, and is what was written, into a new file beside the old one.</summary>
    /// <param name="path">The damaged file; nothing is written to it.</param>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">Nothing of it can be read at all; there is no new file.</exception>
    /// <exception cref="T:System.IO.IOException">The new file cannot be written.</exception>
    let repair (path: string) : JournalRepaired =
        let target = newPath path "repaired"

        try
            // As it is, if SQLite makes sense of it: else a copy of it, of which it does.
            let isReadable =
                JournalHead.isRight path
                && (WriteAheadLog.trouble path JournalHead.pageBytes).IsNone

            if isReadable then
                repairInto target path
            else
                repairCopy target path
        with _ ->
            File.Delete target
            reraise ()
