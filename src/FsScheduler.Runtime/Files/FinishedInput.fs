namespace FsScheduler.Runtime.Files

open System
open System.IO
open FsScheduler.Core

/// What happens to inputs whose results are published. A version that nobody processed is never moved
/// away or deleted.
module FinishedInput =

    /// Where finished inputs go; hidden, so nothing in it is an input.
    let folderName = ".processados"

    /// How many files of one name are kept there.
    let copiesMax = 10_000

    /// `d/a.txt` is moved to `d/a.txt`, and when there is one already to `d/a.1.txt`, `d/a.2.txt` and so on.
    let private target (folder: InputFolder) (name: TaskName) (copy: int) =
        let plain = folder.Locate(folderName + "/" + TaskName.toString name)

        if copy = 0 then
            plain
        else
            let stem =
                Path.Combine(
                    nonNull (Path.GetDirectoryName plain),
                    nonNull (Path.GetFileNameWithoutExtension plain)
                )

            $"{stem}.{copy}{Path.GetExtension plain}"

    let rec private moveAway (folder: InputFolder) (name: TaskName) (copy: int) : string =
        let source = folder.Locate(TaskName.toString name)
        let target = target folder name copy

        if copy < copiesMax && Path.Exists target then
            moveAway folder name (copy + 1)
        else
            IO.File.Move(source, target, overwrite = false)
            target

    let private stampAt (path: string) : Stamp voption =
        let info = FileInfo path

        if info.Exists then
            ValueSome { size = info.Length * 1L<B>; modified = info.LastWriteTimeUtc.Ticks }
        else
            ValueNone

    /// Puts back what was moved away, unless something newer stands there: then that is what counts, and
    /// what was moved stays where it is.
    let private putBack (folder: InputFolder) (name: TaskName) (moved: string) =
        try
            IO.File.Move(moved, folder.Locate(TaskName.toString name), overwrite = false)
        with :? IOException ->
            ()

    /// Judges what was renamed to `moved`, where nobody replaces it any more.
    let private isProcessed (moved: string) (stamp: Stamp) =
        // A link that is relative leads elsewhere from its new place; it was judged in its old one.
        (FileInfo moved).LinkTarget <> null || stampAt moved = ValueSome stamp

    /// Without the look before it, for the tests.
    let internal move (folder: InputFolder) (name: TaskName) (stamp: Stamp) =
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName(target folder name 0)))
        |> ignore

        let moved = moveAway folder name 0

        if isProcessed moved stamp then
            Ok()
        else
            putBack folder name moved
            Error Changed

    /// By way of a hidden name beside it: what is deleted is what was looked at.
    let internal delete (folder: InputFolder) (name: TaskName) (stamp: Stamp) =
        let source = folder.Locate(TaskName.toString name)
        let beside = nonNull (Path.GetDirectoryName source)
        let aside = Path.Combine(beside, ".done-" + Guid.NewGuid().ToString "N")
        IO.File.Move(source, aside, overwrite = false)
        let processed = isProcessed aside stamp

        if not processed then
            putBack folder name aside

        // Still there only if it is done with, or if something newer has taken its place.
        IO.File.Delete aside
        if processed then Ok() else Error Changed

    /// <summary>Does what is to be done with an input whose result is published.</summary>
    /// <param name="folder">The input folder.</param>
    /// <param name="onDone">What is to be done.</param>
    /// <param name="name">The input.</param>
    /// <param name="stamp">The version that was processed; another one is left in its place.</param>
    /// <returns><c>Changed</c> or <c>Gone</c> when that version is not there any more: nothing was done.</returns>
    let finish
        (folder: InputFolder)
        (onDone: OnDone)
        (name: TaskName)
        (stamp: Stamp)
        : Result<unit, InputTrouble> =
        let unlessReplaced action =
            match folder.Look(TaskName.toString name) with
            | Present found when found = stamp ->
                try
                    action folder name stamp
                with
                | :? FileNotFoundException
                | :? DirectoryNotFoundException -> Error Gone
                | :? UnauthorizedAccessException
                | :? IOException as e -> Error(Failing e.Message)
            | Absent -> Error Gone
            | Unknown reason -> Error(Failing reason)
            | Present _
            | Look.Folder
            | Refused _ -> Error Changed

        match onDone with
        | Keep -> Ok()
        | Move -> unlessReplaced move
        | Delete -> unlessReplaced delete
