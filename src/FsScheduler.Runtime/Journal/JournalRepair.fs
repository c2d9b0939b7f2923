namespace FsScheduler.Runtime

open System
open System.IO
open Microsoft.Data.Sqlite

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
}

/// Takes over what can be read of a damaged journal.
module JournalRepair =

    /// Tables by row number, and the others, which are read until they cannot be.
    let private numbered = [ "task"; "event"; "finished" ]
    let private named = [ "file"; "meta" ]

    let private key table =
        match table with
        | "task" -> "id"
        | "event" -> "number"
        | _ -> "task"

    let private newPath (path: string) =
        let folder = nonNull (Path.GetDirectoryName(Path.GetFullPath path))
        let first = Path.Combine(folder, "journal.repaired.db")

        Seq.append
            [ first ]
            (Seq.initInfinite (fun n -> Path.Combine(folder, $"journal.repaired-{n + 2}.db")))
        |> Seq.find (File.Exists >> not)

    let private columns (source: SqliteConnection) table =
        use command = source.CreateCommand(CommandText = $"SELECT * FROM {table} LIMIT 0")
        use rows = command.ExecuteReader()
        rows.FieldCount

    let private repairInto (target: string) (path: string) : JournalRepaired =
        let mutable wrong = 0L
        let mutable gaps = 0

        use source =
            try
                JournalFile.openToRepair path
            with :? IOException as error ->
                raise (JournalRefused $"nothing of {path} can be read: {error.Message}")

        use copy = JournalFile.openNew target
        Schema.execute copy "BEGIN"

        let copyTable table =
            let places = Seq.replicate (columns source table) "?" |> String.concat ","

            use insert =
                new Statement(
                    nonNull copy.Handle,
                    $"INSERT OR REPLACE INTO {table} VALUES({places})"
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
                            rows.CopyTo insert
                            insert.Run()
                            count <- count + 1L
                        else
                            wrong <- wrong + 1L

                    goOn <- false
                with SqliteTrouble _ ->
                    gaps <- gaps + 1
                    skip <- if last > before then 1L else max 1L (2L * skip)
                    goOn <- List.contains table numbered && skip < (1L <<< 50)

            table, count

        let rows =
            try
                [ for table in numbered @ named -> copyTable table ]
            with :? SqliteException as error ->
                raise (JournalRefused $"nothing of {path} can be read: {error.Message}")

        Schema.execute copy "COMMIT"
        { path = target; rows = rows; wrong = wrong; gaps = gaps }

    /// <summary>Writes all that can be read, and is what was written, into a new file beside the old one.</summary>
    /// <param name="path">The damaged file; nothing is written to it.</param>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">Nothing of it can be read at all; there is no new file.</exception>
    /// <exception cref="T:System.IO.IOException">The new file cannot be written.</exception>
    let repair (path: string) : JournalRepaired =
        let target = newPath path

        try
            repairInto target path
        with _ ->
            File.Delete target
            reraise ()
