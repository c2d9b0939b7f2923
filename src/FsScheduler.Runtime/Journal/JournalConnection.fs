namespace FsScheduler.Runtime

open Microsoft.Data.Sqlite

/// How SQLite is used here.
module JournalConnection =

    /// SQLite's own locks are left out: a connection is used by one thread at a time here, and there are two locks
    /// to a call otherwise. To be said before anything else is.
    let private withoutLocks =
        lazy
            (SQLitePCL.Batteries_V2.Init()
             SQLitePCL.raw.sqlite3_shutdown () |> ignore
             SQLitePCL.raw.sqlite3_config SQLitePCL.raw.SQLITE_CONFIG_MULTITHREAD |> ignore
             SQLitePCL.raw.sqlite3_initialize () |> ignore)

    /// <summary>Opens a file.</summary>
    /// <exception cref="T:Microsoft.Data.Sqlite.SqliteException">It cannot be opened.</exception>
    let openAs (path: string) (mode: SqliteOpenMode) : SqliteConnection =
        withoutLocks.Force()

        let text =
            SqliteConnectionStringBuilder(DataSource = path, Mode = mode, Pooling = false)

        let connection = new SqliteConnection(string text)
        connection.Open()
        connection
