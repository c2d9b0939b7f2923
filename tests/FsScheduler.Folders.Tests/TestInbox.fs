/// An inbox of a test.
module FsScheduler.Folders.Tests.TestInbox

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Folders.Tests.FolderSupport

/// A watcher that says what the test says.
type FakeWatcher() =
    let mutable starts = 0
    let mutable deliver: Action<FolderEvent[]> = Action<_>(ignore)
    member val Alive = true with get, set
    member _.Starts = Volatile.Read &starts
    member _.Send(events: FolderEvent list) = deliver.Invoke(Array.ofList events)

    member watcher.Watch =
        StartWatcher(fun _ receiver ->
            Interlocked.Increment &starts |> ignore
            deliver <- receiver
            watcher.Alive <- true

            Ok
                {
                    new IFolderWatcher with
                        member _.IsAlive = watcher.Alive
                        member _.Dispose() = ()
                })

/// <summary>An inbox on a folder of its own, under a clock of its own, and what it gave out.</summary>
/// <param name="configure">Changes its options; the watcher is the one of this inbox.</param>
/// <param name="gate">What each batch waits for.</param>
type TestInbox(configure: FakeWatcher -> InboxOptions -> InboxOptions, gate: unit -> Task) =
    let temp = new TempFolder()
    do Directory.CreateDirectory(temp.At "in") |> ignore
    let clock = ManualClock()
    let log = RecordingLog()
    let watcher = FakeWatcher()
    let taken = Collector<string * FileVersion>()
    let vanished = Collector<string>()
    let batches = Collector<int>()
    let mutable remembered: struct (TaskName * FileVersion) list = []
    let mutable overlap: string voption = ValueNone
    let mutable inbox: Inbox voption = ValueNone

    /// Scans only: the clock then decides everything.
    let options () = {
        settle = 500L<ms>
        rescan = 2_000L<ms>
        remembered = remembered
        heldBack = fun _ -> ValueNone
        overlap = fun () -> overlap
        clock = clock
        log = log
        watch = StartWatcher(fun _ _ -> Error "this test has no events")
    }

    let handlers = {
        take =
            fun files ->
                task {
                    batches.Add files.Length

                    for struct (name, stamp) in files do
                        taken.Add((string name, stamp))

                    do! gate ()
                }
        vanished =
            fun names ->
                for name in names do
                    vanished.Add(string name)

                Task.CompletedTask
    }

    member _.Temp = temp
    member _.Clock = clock
    member _.Log = log
    member _.Watcher = watcher
    member _.Taken = taken
    member _.Vanished = vanished
    member _.Batches = batches
    member _.Names = [ for name, _ in taken.Items -> name ]

    /// What the inbox is told of other folders from its next scan on.
    member _.Overlap
        with set (sentence: string voption) = overlap <- sentence

    /// The files of these names, as they are now, are known when it starts.
    member _.Remember(files: string list) =
        let folder = InputFolder(temp.At "in")
        remembered <- [ for file in files -> struct (name file, stampOf folder file) ]

    member _.Start() =
        let started =
            new Inbox(InputFolder(temp.At "in"), configure watcher (options ()), handlers)

        inbox <- ValueSome started
        started

    /// Once it has started.
    member _.Inbox = inbox.Value


    /// Writes a file that is being written right now, by the clock of the test.
    member _.WriteNow(relative: string, text: string) =
        temp.Write("in/" + relative, text)
        IO.File.SetLastWriteTimeUtc(temp.At("in/" + relative), clock.GetUtcNow().UtcDateTime)

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                if inbox.IsSome then
                    do! ended ((inbox.Value :> IAsyncDisposable).DisposeAsync().AsTask())

                (temp :> IDisposable).Dispose()
            }
            |> ValueTask

/// Without events.
let inboxWith configure =
    new TestInbox((fun _ -> configure), (fun () -> Task.CompletedTask))

/// Its events are those that the test sends.
let withEvents configure (watcher: FakeWatcher) (options: InboxOptions) = {
    configure options with
        InboxOptions.watch = watcher.Watch
}

let inboxWithEvents configure =
    new TestInbox(withEvents configure, (fun () -> Task.CompletedTask))
