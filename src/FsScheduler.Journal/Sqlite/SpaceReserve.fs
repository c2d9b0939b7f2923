namespace FsScheduler.Journal

open System
open System.IO

/// A file that reserves disk space, `journal.reserve` beside `journal.db`. On a full disk it is deleted, so that the
/// WAL of the journal can still be checkpointed.
module internal SpaceReserve =

    let private bytes = 4L * 1024L * 1024L

    let pathOf (journal: string) : string =
        nonNull (Path.ChangeExtension(journal, ".reserve"))

    /// Creates the file, if it is missing and the disk has space.
    let make (journal: string) (restrict: string -> unit) : unit =
        try
            let path = pathOf journal

            if not (File.Exists path) then
                try
                    use file =
                        new FileStream(
                            path,
                            FileStreamOptions(
                                Mode = FileMode.CreateNew,
                                Access = FileAccess.Write,
                                PreallocationSize = bytes
                            )
                        )

                    file.SetLength bytes
                    restrict path
                with :? IOException ->
                    File.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    /// Deletes the file. Returns whether there was one.
    let release (journal: string) : bool =
        try
            let path = pathOf journal
            let isThere = File.Exists path
            File.Delete path
            isThere
        with
        | :? IOException
        | :? UnauthorizedAccessException -> false
