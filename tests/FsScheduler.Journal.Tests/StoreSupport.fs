namespace FsScheduler.Journal.Tests

open System
open System.IO
open System.Text
open FsScheduler.Journal
open FsScheduler.TestKit

[<AutoOpen>]
module StoreSupport =

    type TempFolder with
        member folder.Journal = folder.At "journal.db"

    let owner = Guid "11111111-2222-3333-4444-555555555555"
    let other = Guid "99999999-2222-3333-4444-555555555555"

    /// The time of the batch at event 1.
    let start = 1_700_000_000_000L

    /// A batch whose events are a second apart, and whose payloads have this size.
    let sized (payload: int) (first: int64) (count: int) : Batch =
        let events =
            [
                for number in first .. first + int64 count - 1L ->
                    $"""{{"event":"submitted","task":{number},"name":"n{number}"}}"""
            ]
            |> String.concat ","

        {
            first = first
            count = count
            at = start + first * 1_000L
            owner = owner
            events = ReadOnlyMemory(Encoding.UTF8.GetBytes $"[{events}]")
            payloads = ReadOnlyMemory(Array.init payload (fun at -> byte (int64 at * 7L + first)))
        }

    let batch first count = sized 100 first count

    /// What can be compared with `=`.
    let plain (batch: Batch) =
        struct (batch.first,
                batch.count,
                batch.at,
                batch.owner,
                Convert.ToHexString batch.events.Span,
                Convert.ToHexString batch.payloads.Span)

    let plainAll (batches: Batch seq) = batches |> Seq.map plain |> Seq.toList

    let append (store: IJournalStore) (batches: Batch list) = store.Append(ResizeArray batches)

    let readAll (store: IJournalStore) = plainAll (store.Read 1L)

    let sizeOf (store: IJournalStore) =
        store.Size(Int64.MaxValue, Int64.MinValue)

    let optionsOf (path: string) = SqliteStoreOptions.defaults path

    let openAt (path: string) : IJournalStore = new SqliteStore(optionsOf path)

    /// A closed journal of these batches.
    let journalOf (path: string) (batches: Batch list) =
        use store = openAt path
        append store batches

    /// Copies the files of a journal as they are now, without its mark: what a crash leaves.
    let crashCopy (source: string) (target: string) =
        for ending in [ ""; "-wal" ] do
            if File.Exists(source + ending) then
                use from =
                    new FileStream(
                        source + ending,
                        FileMode.Open,
                        FileAccess.Read,
                        FileShare.ReadWrite ||| FileShare.Delete
                    )

                use into = new FileStream(target + ending, FileMode.Create)
                from.CopyTo into

    let refused (action: unit -> 'T) : string =
        try
            action () |> ignore
            Expecto.Tests.failtest "not refused"
        with JournalRefused message ->
            message

    let isRefused (action: unit -> 'T) =
        try
            action () |> ignore
            false
        with JournalRefused _ ->
            true
