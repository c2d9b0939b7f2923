namespace FsScheduler.Bench

open System
open System.Diagnostics
open System.IO
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Server

/// The journal alone: what a scheduler that is fully loaded asks of it.
module JournalBench =

    let private turnTasks = 1_000

    let private journalIn folder sync =
        let journal =
            StateJournal.openIn
                folder
                sync
                false
                (StorageOutage NullLogger.Instance)
                (Clock TimeProvider.System)
                NullLogger.Instance

        journal.Start()
        journal

    let private pipeline =
        match Pipeline.parseRecorded "lower" with
        | Ok pipeline -> pipeline
        | Error error -> failwith error.message

    /// Three events of each of some tasks.
    let private turn (first: int64) : Event[] =
        let name number =
            match TaskName.parse $"t{number}" with
            | Ok name -> name
            | Error reason -> failwith reason

        [|
            for number in first .. first + int64 turnTasks - 1L do
                let id = number * 1L<taskId>

                Event.Submitted(
                    id,
                    Submission.Create(
                        name number,
                        string number,
                        0,
                        Origin.Client(1L<sessionId>, Result, None),
                        Bytes(Array.create 64 (byte 'A'))
                    ),
                    pipeline
                )

                Event.Assigned({ task = id; number = 1 }, 1L<sessionId>, struct (0, 1))
                Event.Completed({ task = id; number = 1 }, NothingKept)
        |]

    let private rate sync turns =
        let folder = Folders.create (Path.GetTempPath())
        let journal = journalIn folder sync
        let port = journal :> IJournal

        let batches = [| for index in 0 .. turns - 1 -> turn (1L + int64 index * int64 turnTasks) |]

        let clock = Stopwatch.StartNew()

        let durable = [|
            for index, events in Array.indexed batches ->
                let first = 1L + 3L * int64 index * int64 turnTasks
                port.AppendAsync(Instant.zero, first, events).AsTask()
        |]

        System.Threading.Tasks.Task.WaitAll durable
        let elapsed = clock.Elapsed
        (port.DisposeAsync().AsTask()).Wait()
        float (turns * turnTasks) / elapsed.TotalSeconds

    let run () = [
        for name, sync in [ "flushed", Sync.Normal; "not flushed", Sync.Off ] do
            rate sync 50 |> ignore
            let rates = [ for _ in 1..3 -> rate sync 200 ]

            {
                what = $"tasks/s, journal alone, {name}"
                value = $"{Measure.median rates:N0}"
                note = $"three events a task, 64 bytes; median of 3 x {200 * turnTasks:N0}"
            }
    ]
