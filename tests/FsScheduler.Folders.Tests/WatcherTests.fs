module FsScheduler.Folders.Tests.WatcherTests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Expecto.Flip
open FsScheduler.TestKit
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Platform
open FsScheduler.Folders

/// Everything that a watcher sends, as one list.
let private collecting start =
    let events = Collector<FolderEvent>()
    let watcher: IFolderWatcher = start (Action<FolderEvent[]>(Array.iter events.Add))
    events, watcher

let private linux label (body: TempFolder -> Collector<FolderEvent> -> IFolderWatcher -> Task) =
    testCaseTask label (fun () ->
        task {
            if OperatingSystem.IsLinux() then
                use temp = new TempFolder()
                Directory.CreateDirectory(temp.At "in/d/e") |> ignore

                let events, watcher =
                    collecting (fun deliver ->
                        match
                            InotifyWatcher.TryStart(temp.At "in", deliver, NullLogger.Instance)
                        with
                        | Ok watcher -> watcher
                        | Error reason -> failwith reason)

                use _ = watcher
                do! body temp events watcher
        })

let private has (event: FolderEvent) (events: FolderEvent list) = List.contains event events

let private byInotify = [
    linux "a rename into the folder is told from a creation" (fun temp events _ ->
        task {
            temp.Write("x", "x")
            IO.File.Move(temp.At "x", temp.At "in/moved")
            temp.Write("in/d/e/written", "y")
            IO.File.Move(temp.At "in/moved", temp.At "in/d/within")
            IO.File.Delete(temp.At "in/d/within")
            let! all = events.Until(has (Removed "d/within"))

            let expected = [
                FileMovedIn "moved"
                FileWritten "d/e/written"
                Removed "moved"
                FileMovedIn "d/within"
                Removed "d/within"
            ]

            Expect.equal "in order, and each once" expected (List.distinct all)
        })

    linux "new folders are watched, and those that left are not" (fun temp events _ ->
        task {
            Directory.CreateDirectory(temp.At "in/new") |> ignore
            let! _ = events.Until(has (FolderCreated "new"))
            Directory.CreateDirectory(temp.At "in/new/deep") |> ignore
            let! _ = events.Until(has (FolderCreated "new/deep"))
            temp.Write("in/new/deep/a", "a")
            let! _ = events.Until(has (FileWritten "new/deep/a"))
            temp.Write("arriving/sub/b", "b")
            Directory.Move(temp.At "arriving", temp.At "in/arrived")
            let! _ = events.Until(has (FolderMovedIn "arrived"))
            temp.Write("in/arrived/sub/c", "c")
            let! _ = events.Until(has (FileWritten "arrived/sub/c"))
            Directory.Move(temp.At "in/arrived", temp.At "left")
            let! _ = events.Until(has (FolderRemoved "arrived"))
            temp.Write("left/sub/unseen", "d")
            temp.Write("in/last", "e")
            let! all = events.Until(has (FileWritten "last"))
            Expect.isFalse "under its old name" (has (FileWritten "arrived/sub/unseen") all)
        })

    linux "hidden folders are not watched" (fun temp events _ ->
        task {
            temp.Write("in/.processados/a", "a")
            temp.Write("in/.b", "b")
            temp.Write("in/last", "c")
            let! all = events.Until(has (FileWritten "last"))
            Expect.equal "nothing else" [ FileWritten "last" ] (List.distinct all)
        })

    linux "a watcher ends with its folder" (fun temp events watcher ->
        task {
            Expect.isTrue "alive" watcher.IsAlive
            Directory.Move(temp.At "in", temp.At "away")
            let! _ = events.Until(has EventsLost)
            Expect.isFalse "ended" watcher.IsAlive
        })

    testCaseTask "an overflow of events is told of, and the folders watched again" (fun () ->
        task {
            let limit = "/proc/sys/fs/inotify/max_queued_events"

            if OperatingSystem.IsLinux() && int (IO.File.ReadAllText limit) <= 65_536 then
                use temp = new TempFolder()
                Directory.CreateDirectory(temp.At "in") |> ignore
                use blocked = new ManualResetEventSlim()
                let lost = TaskCompletionSource()
                let written = TaskCompletionSource()

                let deliver (batch: FolderEvent[]) =
                    blocked.Wait()

                    if Array.contains EventsLost batch then
                        lost.TrySetResult() |> ignore

                    if Array.contains (FileWritten "d/a") batch then
                        written.TrySetResult() |> ignore

                match
                    InotifyWatcher.TryStart(temp.At "in", Action<_> deliver, NullLogger.Instance)
                with
                | Error reason -> failtest reason
                | Ok watcher ->
                    use _ = watcher
                    let files = [| for i in 0..1 -> IO.File.Create(temp.At $"in/{i}") |]

                    // Alternating: the kernel keeps one of equal events that follow each other.
                    for i in 0 .. int (IO.File.ReadAllText limit) + 5_000 do
                        files[i % 2].WriteByte 0uy
                        files[i % 2].Flush()

                    for file in files do
                        file.Dispose()

                    Directory.CreateDirectory(temp.At "in/d") |> ignore
                    blocked.Set()
                    do! ended lost.Task
                    temp.Write("in/d/a", "a")
                    do! ended written.Task
        })
]

let private byFileSystemWatcher = [
    testCaseTask "without inotify renames inside the folder are told" (fun () ->
        task {
            use temp = new TempFolder()
            Directory.CreateDirectory(temp.At "in/d") |> ignore

            let events, watcher =
                collecting (fun deliver -> new PortableWatcher(temp.At "in", deliver))

            use _ = watcher
            temp.Write("in/d/a", "a")
            let! _ = events.Until(has (FileWritten "d/a"))
            IO.File.Move(temp.At "in/d/a", temp.At "in/d/b")
            let! all = events.Until(has (FileMovedIn "d/b"))
            Expect.isTrue "its old name" (has (Removed "d/a") all)
            IO.File.Delete(temp.At "in/d/b")
            let! _ = events.Until(has (Removed "d/b"))
            Directory.CreateDirectory(temp.At "in/new") |> ignore
            let! _ = events.Until(has (FolderCreated "new"))
            ()
        })
]

[<Tests>]
let tests = testList "WatcherTests" (byInotify @ byFileSystemWatcher)
