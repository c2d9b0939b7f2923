namespace FsScheduler.Journal

open System
open System.IO

/// A file that holds some room of the disk, `journal.reserve` beside `journal.db`. On a full disk the journal gives it up, so
/// that its log can still be moved.
module internal Reserve =

    let private bytes = 4L * 1024L * 1024L

    let pathOf (journal: string) : string =
        nonNull (Path.ChangeExtension(journal, ".reserve"))

    /// Takes the room, if it is not taken; not on a disk that has none.
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

    /// Gives the room back. Whether there was any.
    let give (journal: string) : bool =
        try
            let path = pathOf journal
            let isThere = File.Exists path
            File.Delete path
            isThere
        with
        | :? IOException
        | :? UnauthorizedAccessException -> false
