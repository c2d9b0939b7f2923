namespace FsScheduler.Core

open System.Collections.Generic

/// What the journal knows of a file.
type TakenFile = {
    /// The version that was taken last.
    version: FileVersion
    /// The task of that version.
    task: TaskId
    /// What it was submitted for.
    pipeline: Pipeline
    /// Whether that task is done.
    isDone: bool
    /// The event that the journal has this at.
    number: int64
}

/// The versions of files that were taken, and the results of them that may not have reached the device.
type internal TakenFiles() =
    let files = Dictionary<string, TakenFile>()
    let homes = Homes<string>()
    let unflushed = Dictionary<string, struct (int64 * ContentHash)>()

    member _.Homes = homes
    member _.All: IReadOnlyDictionary<string, TakenFile> = files

    member _.Find(name: string) : TakenFile voption =
        match files.TryGetValue name with
        | true, file -> ValueSome file
        | _ -> ValueNone

    /// A version is taken, at an event, or carried to it. The result of an older one is of no use any more.
    member _.Take(name: string, file: TakenFile) =
        files[name] <- file
        unflushed.Remove name |> ignore
        homes.Add(file.number, name)

    /// The result of a file, if it may not have reached the device, and the event that it came with.
    member _.UnflushedOf(name: string) : struct (int64 * ContentHash) voption =
        match unflushed.TryGetValue name with
        | true, result -> ValueSome result
        | _ -> ValueNone

    /// A result may not have reached the device.
    member _.AddUnflushed(name: string, result: struct (int64 * ContentHash)) =
        unflushed[name] <- result

    /// The file is gone, or is to be taken again.
    member _.Forget(name: string) =
        files.Remove name |> ignore
        unflushed.Remove name |> ignore

    /// A task of a file is done, at an event. A newer version has, or will have, a result of its own.
    member taken.Done(name: string, task: TaskId, number: int64, hash: ContentHash) =
        match taken.Find name with
        | ValueSome file when file.task = task ->
            files[name] <- { file with isDone = true }
            unflushed[name] <- struct (number, hash)
        | _ -> ()

    /// The results of events up to this number have reached the device.
    member _.Flush(number: int64) =
        let flushed = [|
            for KeyValue(name, struct (at, _)) in unflushed do
                if at <= number then
                    name
        |]

        for name in flushed do
            unflushed.Remove name |> ignore

    /// Whether an event before this number has a result that may not have reached the device.
    member _.IsUnflushed(before: int64) =
        unflushed.Values |> Seq.exists (fun (struct (number, _)) -> number < before)

    /// All results are on the device.
    member _.IsFlushed = unflushed.Count = 0

    /// Results by file that may not have reached the device.
    member _.Unflushed: struct (string * ContentHash)[] = [|
        for KeyValue(name, struct (_, hash)) in unflushed do
            struct (name, hash)
    |]
