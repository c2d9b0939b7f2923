namespace FsScheduler.Runtime

open System
open System.Buffers.Binary
open System.Collections.Concurrent
open System.IO
open System.Text
open System.Text.RegularExpressions
open Microsoft.Data.Sqlite

/// The first page of a journal: the header of the file, and the schema. SQLite does not see every flipped bit in it, and
/// reads rows as something else then.
module JournalHead =

    /// Of every journal.
    let pageBytes = 8_192

    let private headerBytes = 100

    let private number (header: byte[]) at =
        BinaryPrimitives.ReadInt32BigEndian(ReadOnlySpan(header, at, 4))

    /// What is wrong with the header of a file, if anything is.
    let private wrong (header: byte[]) (length: int64) (hasLog: bool) : string option =
        let page =
            match int header[16] * 256 + int header[17] with
            | 1 -> 65_536
            | size -> size

        let version = number header 60
        // Before the first table is made, neither stands there.
        let isEmpty = version = 0 && number header 44 = 0 && number header 56 = 0
        let pages = int64 (uint32 (number header 28))

        if Encoding.ASCII.GetString(header, 0, 16) <> "SQLite format 3\000" then
            Some "it is no SQLite file: its header is not there"
        elif page < 512 || not (Int32.IsPow2 page) then
            Some $"its header says that a page has {page} bytes"
        elif
            header[18] < 1uy
            || header[18] > 2uy
            || header[19] <> header[18]
            || header[20] <> 0uy
            || header[21] <> 64uy
            || header[22] <> 32uy
            || header[23] <> 32uy
        then
            Some "its header is not what was written"
        elif not isEmpty && number header 44 <> 4 then
            Some $"its header says that the tables have the format {number header 44}, and not 4"
        elif not isEmpty && number header 56 <> 1 then
            Some "its header says that texts are not in UTF-8"
        elif version < 0 then
            Some $"its header says that it is of version {version}"
        elif Array.exists ((<>) 0uy) header[52..55] || Array.exists ((<>) 0uy) header[64..91] then
            Some "its header is not what was written"
        // While there is a log, the newest size may stand there.
        elif length < pages * int64 page && not hasLog then
            Some $"it has {length} bytes and should have {pages * int64 page}: its end is missing"
        elif length % int64 page <> 0L then
            Some $"it has {length} bytes, which is no whole number of pages: its last page is torn"
        else
            None

    /// <summary>What is wrong with the header of a journal, if anything is. A file that was cut off would be read as if
    /// its last pages were empty.</summary>
    /// <param name="path">The file; nothing is written to it.</param>
    let headerTrouble (path: string) : string option =
        use file =
            new FileStream(
                path,
                FileMode.Open,
                FileAccess.Read,
                FileShare.ReadWrite ||| FileShare.Delete
            )

        let header: byte[] = Array.zeroCreate headerBytes

        if file.ReadAtLeast(Span header, headerBytes, false) < headerBytes then
            Some "it is no SQLite file: its header is not there"
        else
            wrong header file.Length (WriteAheadLog.isThere path)

    /// Whether a file has a table: older versions have fewer.
    let hasTable (connection: SqliteConnection) (table: string) : bool =
        Schema.scalar
            connection
            $"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '{table}'"
            >
            0L

    /// Blanks and line ends do not count: they depend on how this program was built.
    let private plain (text: string) =
        Regex.Replace(text, "[ \t\r\n]+", " ").Trim()

    let private schemaIn (connection: SqliteConnection) = [
        use command =
            connection.CreateCommand(
                CommandText =
                    "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
            )

        use rows = command.ExecuteReader()

        while rows.Read() do
            [
                for column in 0..3 do
                    plain (string (rows.GetValue column))
            ]
    ]

    let private known = ConcurrentDictionary<int, string list list>()

    /// The tables of a version, as SQLite describes them.
    let private schemaOf (version: int) =
        known.GetOrAdd(
            version,
            fun version ->
                use connection = JournalConnection.openAs ":memory:" SqliteOpenMode.ReadWriteCreate

                Schema.migrateTo connection version
                schemaIn connection
        )

    /// The version whose tables a file has, whatever it says.
    let private versionByTables found =
        Seq.tryFind (fun version -> schemaOf version = found) [ Schema.version .. -1 .. 1 ]

    /// <summary>What is wrong with the tables of a journal, if anything is.</summary>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">It is of a newer version.</exception>
    /// <exception cref="T:Microsoft.Data.Sqlite.SqliteException">They cannot be read.</exception>
    let schemaTrouble (connection: SqliteConnection) : string option =
        let version = Schema.versionOf connection
        let found = schemaIn connection

        if version = 0 && found.IsEmpty then
            None // a journal that was only begun
        else
            match versionByTables found with
            | Some right when right = version -> None
            | Some right ->
                Some
                    $"it says that it is of version {version}, and has the tables of version {right}"
            | None when version > Schema.version && not found.IsEmpty ->
                raise (Schema.tooNew version)
            | None -> Some $"its tables are not those of version {version}"

    /// The file alone, without its log, and so that nothing is made beside it.
    let private openAlone (path: string) =
        let parts = Path.GetFullPath(path).Replace('\\', '/').TrimStart('/').Split '/'
        let escaped = parts |> Seq.map Uri.EscapeDataString |> String.concat "/"
        JournalConnection.openAs $"file:///{escaped}?immutable=1" SqliteOpenMode.ReadOnly

    /// <summary>Refuses a file that is of a newer version; nothing is made beside it.</summary>
    /// <returns>What is wrong with a file that only says so.</returns>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">It is of a newer version.</exception>
    let newerTrouble (path: string) : string option =
        try
            use connection = openAlone path
            schemaTrouble connection
        with :? SqliteException as error ->
            Some error.Message

    /// Whether a file can be read as a journal: its header and its tables are right.
    let isRight (path: string) : bool =
        headerTrouble path = None
        && (try
                use connection = JournalConnection.openAs path SqliteOpenMode.ReadOnly
                schemaTrouble connection = None
            with :? SqliteException ->
                false)

    /// The first page of a new journal of a version.
    let private firstPageOf (version: int) (beside: string) : byte[] =
        let path = beside + ".new"
        File.Delete path

        try
            do
                use connection = JournalConnection.openAs path SqliteOpenMode.ReadWriteCreate
                Schema.execute connection $"PRAGMA page_size = {pageBytes}"
                Schema.migrateTo connection version

            use file = File.OpenRead path
            let page = Array.zeroCreate<byte> pageBytes
            file.ReadExactly(Span page)
            page
        finally
            File.Delete path

    let private contains (page: byte[]) (text: string) =
        ReadOnlySpan(page).IndexOf(ReadOnlySpan(Encoding.UTF8.GetBytes text)) >= 0

    /// Which version a file is of, with a first page that is damaged.
    let private versionOfDamaged (path: string) (page: byte[]) =
        let byTables =
            try
                use connection = openAlone path
                versionByTables (schemaIn connection)
            with :? SqliteException ->
                None

        match byTables, number page 60 with
        | Some version, _ -> version
        | None, version when version >= 1 && version <= Schema.version -> version
        | None, _ ->
            // By the names that stand in what is left of it.
            [ Schema.version .. -1 .. 1 ]
            |> List.tryFind (fun version ->
                let older = if version = 1 then [] else schemaOf (version - 1)

                schemaOf version
                |> List.except older
                |> List.exists (fun description -> contains page $" {description[1]}"))
            |> Option.defaultValue Schema.version

    /// Where a table begins that an older journal was given when it had rows already: the page is not the same in all.
    let private rootOf (page: byte[]) table =
        let name = Encoding.UTF8.GetBytes $"table{table}{table}"
        let start = ReadOnlySpan(page).IndexOf(ReadOnlySpan name)

        if start < 0 then
            0
        else
            let from = start + name.Length
            let length = ReadOnlySpan(page).Slice(from).IndexOf("CREATE"B.AsSpan())

            if length < 1 || length > 3 then
                0
            else
                Seq.fold (fun root byte -> root * 256 + int byte) 0 page[from .. from + length - 1]

    /// <summary>Gives a copy of a journal the first page of a new one, so that all other pages can be read.</summary>
    /// <param name="copy">The copy; no log belongs to it.</param>
    /// <remarks>Tables begin at the same pages in every journal, because they are made before there are rows; but for
    /// those of later versions.</remarks>
    let graft (copy: string) : unit =
        let old = Array.zeroCreate<byte> pageBytes

        do
            use file = File.OpenRead copy
            file.ReadAtLeast(Span old, pageBytes, false) |> ignore

        let version = versionOfDamaged copy old
        let page = firstPageOf version copy

        do
            use file = new FileStream(copy, FileMode.Open, FileAccess.ReadWrite)
            let pages = (file.Length + int64 pageBytes - 1L) / int64 pageBytes
            file.SetLength(pages * int64 pageBytes)
            BinaryPrimitives.WriteUInt32BigEndian(Span(page, 28, 4), uint32 pages)
            // The size counts only where these two agree.
            page.AsSpan(24, 4).CopyTo(Span(page, 92, 4))
            file.Position <- 0L
            file.Write(ReadOnlySpan page)

        let later =
            schemaOf version
            |> List.except (schemaOf 1)
            |> List.filter (fun description -> description[0] = "table")

        if not later.IsEmpty then
            use connection = JournalConnection.openAs copy SqliteOpenMode.ReadWrite
            Schema.execute connection "PRAGMA writable_schema = ON"

            for description in later do
                match rootOf old description[1] with
                | 0 -> () // as in a journal that began with this version
                | root ->
                    Schema.execute
                        connection
                        $"UPDATE sqlite_master SET rootpage = {root} WHERE name = '{description[1]}'"
