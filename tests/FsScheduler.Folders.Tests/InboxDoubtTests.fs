/// The inbox and what it does not see any more, or never could.
module FsScheduler.Folders.Tests.InboxDoubtTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Folders.Tests.TestInbox

/// An inbox that has taken these files, but for those that it remembers; its events are those that the test sends.
type private Watched(files: string list, remembered: string list) as watched =
    inherit TestInbox(withEvents id, (fun () -> Task.CompletedTask))

    do
        for file in files do
            watched.Temp.Write("in/" + file, file)

        watched.Remember remembered

    member watched.StartAsync() =
        task {
            watched.Start() |> ignore

            let! _ =
                watched.Taken.Until(fun items -> items.Length = files.Length - remembered.Length)

            do! watched.Clock.Asleep()
        }

    /// In steps of a scan.
    member watched.Advance(seconds: int) =
        task {
            for _ in 1 .. seconds / 2 do
                do! watched.Clock.Advance 2_000
        }

    member watched.Doubts = watched.Log.Lines |> List.filter _.Contains("gone all at once")

let private replace (watched: Watched) =
    Directory.Move(watched.Temp.At "in", watched.Temp.At "away")
    Directory.CreateDirectory(watched.Temp.At "in") |> ignore

let private bringBack (watched: Watched) =
    Directory.Delete(watched.Temp.At "in")
    Directory.Move(watched.Temp.At "away", watched.Temp.At "in")

let private onlyOnLinux () =
    if not (OperatingSystem.IsLinux()) then
        skiptest "folders are told apart by their inodes"

let private away = [
    testCaseTask
        "a folder that is replaced and comes back loses nothing, and one line says so"
        (fun () ->
            task {
                onlyOnLinux ()
                use watched = new Watched([ "a" ], [])
                do! watched.StartAsync()
                replace watched
                do! watched.Advance 30
                Expect.equal "the new one is watched" 2 watched.Watcher.Starts
                bringBack watched
                do! watched.Advance 120
                Expect.equal "and the old one again" 3 watched.Watcher.Starts
                Expect.isEmpty "nothing vanished" watched.Vanished.Items
                Expect.equal "taken once" [ "a" ] watched.Names
                Expect.hasLength "one line" 1 watched.Doubts

                Expect.exists
                    "and one when they are back"
                    (fun (line: string) -> line.Contains "are back")
                    watched.Log.Lines
            })

    testCaseTask "what stays away is taken for deleted after a minute" (fun () ->
        task {
            onlyOnLinux ()
            use watched = new Watched([ "a"; "d/b" ], [])
            do! watched.StartAsync()
            replace watched
            do! watched.Advance 56
            Expect.isEmpty "not yet" watched.Vanished.Items
            do! watched.Advance 10
            let! vanished = watched.Vanished.Until(fun items -> items.Length = 2)
            Expect.equal "both" [ "a"; "d/b" ] (List.sort vanished)
        })

    testCaseTask
        "all files of a folder that a scan misses at once are doubted, a few are not"
        (fun () ->
            task {
                use watched = new Watched([ "a"; "b"; "d/c"; "d/e" ], [])
                do! watched.StartAsync()
                IO.File.Delete(watched.Temp.At "in/a")
                IO.File.Delete(watched.Temp.At "in/d/c")
                IO.File.Delete(watched.Temp.At "in/d/e")
                do! watched.Advance 2
                Expect.equal "the one beside another" [ "a" ] watched.Vanished.Items
                Expect.isEmpty "the events may be on their way" watched.Doubts
                do! watched.Advance 2
                Expect.hasLength "one line" 1 watched.Doubts
                watched.Watcher.Send [ Removed "d/c"; Removed "d/e" ]
                let! vanished = watched.Vanished.Until(fun items -> items.Length = 3)
                Expect.equal "an event is certain" [ "a"; "d/c"; "d/e" ] (List.sort vanished)
            })

    testCaseTask
        "of files whose deletion is told right after a scan missed them, no line says anything"
        (fun () ->
            task {
                use watched = new Watched([ "a"; "b" ], [])
                do! watched.StartAsync()
                IO.File.Delete(watched.Temp.At "in/a")
                IO.File.Delete(watched.Temp.At "in/b")
                do! watched.Advance 2
                Expect.isEmpty "in doubt" watched.Vanished.Items
                watched.Watcher.Send [ Removed "a"; Removed "b" ]
                let! _ = watched.Vanished.Until(fun items -> items.Length = 2)
                do! watched.Advance 10
                Expect.isEmpty "no line" watched.Log.Lines
            })

    testCaseTask "while another folder of the scheduler is in this one, nothing is taken" (fun () ->
        task {
            use watched = new Watched([ "a" ], [])
            do! watched.StartAsync()
            watched.Overlap <- ValueSome "the results are here"
            watched.Temp.Write("in/a.out", "A")
            do! watched.Advance 20
            Expect.equal "not taken" [ "a" ] watched.Names

            Expect.hasLength
                "one line"
                1
                (watched.Log.Lines |> List.filter _.Contains("the results are here"))

            watched.Overlap <- ValueNone
            IO.File.Delete(watched.Temp.At "in/a.out")
            watched.Temp.Write("in/b", "b")
            do! watched.Advance 4
            let! _ = watched.Taken.Until(fun items -> items.Length = 2)
            Expect.equal "goes on" [ "a"; "b" ] watched.Names
            Expect.isEmpty "nothing was lost" watched.Vanished.Items
        })

    testCaseTask "what is written to and then not there waits for the scan" (fun () ->
        task {
            onlyOnLinux ()
            use watched = new Watched([ "a"; "b" ], [])
            do! watched.StartAsync()
            replace watched
            watched.Watcher.Send [ FileWritten "a"; FileMovedIn "b" ]
            do! watched.Advance 10
            Expect.isEmpty "not told as removed" watched.Vanished.Items
        })

    testCaseTask "what was taken before a restart is doubted when the folder is empty" (fun () ->
        task {
            use watched = new Watched([ "a" ], [ "a" ])
            IO.File.Delete(watched.Temp.At "in/a")
            do! watched.StartAsync()
            do! watched.Advance 50
            Expect.isEmpty "not yet" watched.Vanished.Items
            Expect.hasLength "one line" 1 watched.Doubts
            do! ended (watched.Inbox.WaitUntilSettled())
            do! watched.Advance 20
            let! _ = watched.Vanished.Until(fun items -> items = [ "a" ])
            ()
        })

    testCaseTask
        "a file that somebody misses, and nobody knows, is told to have vanished"
        (fun () ->
            task {
                use watched = new Watched([ "a" ], [])
                do! watched.StartAsync()
                do! watched.Inbox.Miss(name "a")
                do! watched.Inbox.Miss(name "unknown")
                let! vanished = watched.Vanished.Until(fun items -> not items.IsEmpty)
                Expect.equal "the unknown one" [ "unknown" ] vanished
            })
]

let private refused = [
    testCaseTask
        "a refusal that is put right without an event does not count when it is asked afresh"
        (fun () ->
            task {
                use watched = new Watched([ "a" ], [])
                Directory.CreateDirectory(watched.Temp.At "in/.hidden") |> ignore
                watched.Temp.Link("in/link", ".hidden/target")
                watched.Temp.Link("in/gone", "nowhere")
                do! watched.StartAsync()
                Expect.equal "both" 2 watched.Inbox.Refused
                watched.Temp.Write("in/.hidden/target", "t")
                IO.File.Delete(watched.Temp.At "in/gone")
                let settled = watched.Inbox.WaitUntilSettled true

                while not settled.IsCompleted do
                    do! watched.Clock.Advance 50

                Expect.equal "none" 0 watched.Inbox.Refused
                Expect.equal "taken" [ "a"; "link" ] watched.Names
            })

    testCaseTask
        "a folder with a temporary name is left alone, whatever events tell of it"
        (fun () ->
            task {
                use watched = new Watched([ "a" ], [])
                do! watched.StartAsync()
                watched.Temp.Write("in/lote.tmp/b", "b")
                watched.Watcher.Send [ FolderCreated "lote.tmp"; FolderMovedIn "lote.tmp" ]
                watched.Watcher.Send [ FileMovedIn "lote.tmp/b" ]
                do! watched.Advance 4
                Expect.equal "taken" [ "a" ] watched.Names
            })

    testCaseTask "names that were taken before, and are left alone by now, vanish" (fun () ->
        task {
            use watched = new Watched([ "a"; "d.tmp/b" ], [ "a"; "d.tmp/b" ])
            do! watched.StartAsync()
            let! vanished = watched.Vanished.Until(fun items -> not items.IsEmpty)
            Expect.equal "it" [ "d.tmp/b" ] vanished
        })
]

[<Tests>]
let tests = testList "InboxDoubtTests" (away @ refused)
