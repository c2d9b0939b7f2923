namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// A file of `entrada/`, by the journal.
type TakenFile = {
    /// The version that was taken last.
    version: FileVersion
    /// The task of that version.
    task: TaskId
    /// The pipeline that the version was submitted with.
    pipeline: Pipeline
    isDone: bool
    /// The number of the event that has this.
    number: int64
}

/// The versions of files that were taken, and their results that may not have reached the device.
type internal TakenFiles() =
    let files = Dictionary<string, TakenFile>()
    let index = EventIndex<string>()
    let unflushed = Dictionary<string, struct (int64 * ContentHash)>()

    member _.Index = index
    member _.All: IReadOnlyDictionary<string, TakenFile> = files

    member _.Find(name: string) : TakenFile voption =
        match files.TryGetValue name with
        | true, file -> ValueSome file
        | _ -> ValueNone

    /// Records the version of a file that an event took or carried. The result of an older version needs no flush.
    member _.Take(name: string, file: TakenFile) =
        files[name] <- file
        unflushed.Remove name |> ignore
        index.Add(file.number, name)

    /// The result of a file that may not have reached the device, with the number of its event.
    member _.UnflushedOf(name: string) : struct (int64 * ContentHash) voption =
        match unflushed.TryGetValue name with
        | true, result -> ValueSome result
        | _ -> ValueNone

    member _.AddUnflushed(name: string, result: struct (int64 * ContentHash)) =
        unflushed[name] <- result

    /// Forgets a file that was deleted, or is to be taken again.
    member _.Forget(name: string) =
        files.Remove name |> ignore
        unflushed.Remove name |> ignore

    /// Records that the task of a file is finished. A newer version has, or will have, a result of its own.
    member taken.Done(name: string, task: TaskId, number: int64, hash: ContentHash) =
        match taken.Find name with
        | ValueSome file when file.task = task ->
            files[name] <- { file with isDone = true }
            unflushed[name] <- struct (number, hash)
        | _ -> ()

    /// Records that the results of events up to this number have reached the device.
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

    /// Whether all results have reached the device.
    member _.IsFlushed = unflushed.Count = 0

    /// The results that may not have reached the device, by file.
    member _.Unflushed: struct (string * ContentHash)[] = [|
        for KeyValue(name, struct (_, hash)) in unflushed do
            struct (name, hash)
    |]
