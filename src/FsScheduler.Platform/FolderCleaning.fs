namespace FsScheduler.Platform

open System.Collections.Generic

/// <summary>Removes folders that programs have filled: names of any bytes, folders without rights, trees deeper than
/// any path may be. Follows no link, and removes nothing from a mounted file system.</summary>
/// <remarks>Nested folders are first moved to the top, so that one name reaches each: no path is too long, the stack
/// stays small, and two descriptors are enough. Only a rename shows that a folder is no mount point.</remarks>
module internal FolderCleaning =

    // A program that still runs may go on filling a folder.
    let private passesMax = 20

    /// Counts the files that could not be removed, with the reason of the first.
    type private Remains() =
        let mutable count = 0
        let mutable reason = ""

        member _.Add(name: byte[], errno: int) =
            if count = 0 then
                let text = System.Text.Encoding.UTF8.GetString(name).TrimEnd '\000'
                reason <- $"'{text}': {Linux.message errno}"

            count <- count + 1

        member _.Answer: string | null =
            match count with
            | 0 -> null
            | 1 -> reason
            | count -> $"{reason}; and {count - 1} more"

    let private EBUSY = 16
    let private ENOENT = Linux.Errno.ENOENT

    // Differs between processes, one of which may have left folders of an interrupted run.
    let private prefix = $"gone-{System.Guid.NewGuid():N}-"
    let mutable private moved = 0L

    let private newName () =
        FolderCalls.bytesOf $"{prefix}{System.Threading.Interlocked.Increment &moved}"

    /// Removes an entry from a folder; a folder that is not empty goes to the top and the queue. False: it stays.
    let private tryTake
        (top: int)
        (folder: int)
        (entry: byte[])
        (queue: Queue<byte[]>)
        (remains: Remains)
        =
        let stays errno =
            remains.Add(entry, errno)
            false

        match FolderCalls.removeFile folder entry with
        | Ok() -> true
        | Error errno when errno = ENOENT -> true
        | Error errno ->
            match FolderCalls.statusOf folder entry with
            | Ok status when status.kind = Linux.S_IFDIR ->
                match FolderCalls.removeFolder folder entry with
                | Ok() -> true
                | Error errno when errno = EBUSY -> stays errno
                | Error _ ->
                    // Moving a folder takes the right to write to it.
                    FolderCalls.unlock folder entry |> ignore
                    let target = newName ()

                    match FolderCalls.rename folder entry top target with
                    | Ok() ->
                        queue.Enqueue target
                        true
                    | Error errno -> stays errno
            | _ -> stays errno

    /// Removes one folder at the top.
    let private removeFolder (top: int) (name: byte[]) queue (remains: Remains) =
        match FolderCalls.openFolder top name with
        | Error errno when errno = ENOENT -> ()
        | Error errno -> remains.Add(name, errno)
        | Ok folder ->
            try
                let mutable goOn = true
                let mutable passes = 0

                while goOn do
                    let taken = ref 0
                    let stuck = ref 0

                    let listed =
                        FolderCalls.visit folder (fun entry ->
                            if tryTake top folder entry queue remains then
                                taken.Value <- taken.Value + 1
                            else
                                stuck.Value <- stuck.Value + 1)

                    passes <- passes + 1

                    match listed, FolderCalls.removeFolder top name with
                    | _, Ok() -> goOn <- false
                    | _, Error errno when errno = ENOENT -> goOn <- false
                    | Ok(), Error _ when taken.Value > 0 && stuck.Value = 0 && passes < passesMax ->
                        ()
                    | Error errno, Error _
                    | Ok(), Error errno ->
                        if stuck.Value = 0 then
                            remains.Add(name, errno)

                        goOn <- false
            finally
                Linux.close folder

    /// <summary>Removes a name from a folder, and all that is below it.</summary>
    /// <param name="top">The folder, open.</param>
    /// <param name="name">The name as a C string; it may be missing.</param>
    /// <returns>What stays, and why; null: all is removed.</returns>
    let remove (top: int) (name: byte[]) : string | null =
        let remains = Remains()
        let queue = Queue<byte[]>()
        tryTake top top name queue remains |> ignore

        while queue.Count > 0 do
            removeFolder top (queue.Dequeue()) queue remains

        remains.Answer

    /// <summary>Removes all names from a folder but one.</summary>
    /// <returns>What stays, and why; null: all is removed.</returns>
    let empty (top: int) (kept: byte[]) : string | null =
        let mutable reason: string | null = null
        let names = List<byte[]>()

        match FolderCalls.visit top names.Add with
        | Error errno -> Linux.message errno
        | Ok() ->
            for name in names do
                if name <> kept then
                    match remove top name with
                    | null -> ()
                    | one -> reason <- one

            reason
