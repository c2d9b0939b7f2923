module FsScheduler.Journal.Tests.Bench

open System
open System.Diagnostics
open System.IO
open System.Text
open FsScheduler.Journal

/// What a task is, about: 3 events of 70 bytes and 64 bytes of payload.
let private batchOf (first: int64) (events: int) : Batch =
    let text = StringBuilder("[")

    for index in 0 .. events - 1 do
        if index > 0 then
            text.Append ',' |> ignore

        text.Append(
            $"""{{"event":"completed","task":{first + int64 index},"attempt":1,"worker":"w0"}}"""
                .PadRight
                69
        )
        |> ignore

    {
        first = first
        count = events
        at = first
        owner = Guid.NewGuid()
        events = ReadOnlyMemory(Encoding.UTF8.GetBytes(string (text.Append ']')))
        payloads = ReadOnlyMemory(Array.zeroCreate (events / 3 * 64))
    }

/// Appends a million tasks, reads them, and drops them; prints what each took.
let run (folder: string) (tasks: int) =
    let path = Path.Combine(folder, "bench.db")
    let size = 3 * 682

    let batches = [
        for index in 0L .. int64 (3 * tasks / size) - 1L -> batchOf (1L + index * int64 size) size
    ]

    let store: IJournalStore = new SqliteStore(SqliteStoreOptions.defaults path)

    let timed name (action: unit -> unit) =
        let wall = Stopwatch.StartNew()
        let before = Process.GetCurrentProcess().TotalProcessorTime
        action ()
        let used = Process.GetCurrentProcess().TotalProcessorTime - before

        printfn
            $"{name}: {used.TotalMicroseconds / float tasks:F2} µs of processor a task, {float tasks / wall.Elapsed.TotalSeconds:F0} tasks/s"

    timed "append" (fun () ->
        for batch in batches do
            store.Append [| batch |])

    timed "read" (fun () -> store.Read 1L |> Seq.iter ignore)
    let size = store.Size(Int64.MaxValue, Int64.MinValue)
    printfn $"{float size.bytes / float tasks:F0} bytes a task"

    timed "drop" (fun () ->
        while store.Drop(Int64.MaxValue, 64) do
            ())

    timed "append into free pages" (fun () ->
        for batch in batches do
            store.Append [| { batch with first = batch.first + size.next - 1L } |])

    store.Dispose()

    for file in Directory.GetFiles(folder, "bench.*") do
        File.Delete file
