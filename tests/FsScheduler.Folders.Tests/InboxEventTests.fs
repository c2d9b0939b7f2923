/// The inbox and the events of its folder: those that a test sends, and those of the system.
module FsScheduler.Folders.Tests.InboxEventTests

open System
open System.IO
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.TestKit
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Folders.Tests.TestInbox

/// Longer than any of these tests, by its clock.
let private hour = 3_600_000L<ms>

let private withInjectedEvents = [
    testCaseTask "lost events bring a scan at once" (fun () ->
        task {
            use setup = inboxWithEvents (fun options -> { options with rescan = hour })

            let inbox = setup.Start()
            do! ended (inbox.WaitUntilSettled())
            setup.Temp.Write("in/a", "a")
            setup.Watcher.Send [ EventsLost ]
            let! taken = setup.Taken.Until(fun items -> items.Length = 1)
            Expect.equal "found" "a" (fst (List.item 0 taken))
        })

    testCaseTask "a rename into the folder is not waited for, a creation is" (fun () ->
        task {
            use setup = inboxWithEvents (fun options -> { options with settle = hour })

            setup.Start() |> ignore
            do! setup.Clock.Asleep()

            for file in [ "moved"; "created"; "d/1"; "e/1"; ".hidden"; "x.part" ] do
                setup.WriteNow(file, file)

            setup.Watcher.Send [
                FileMovedIn ".hidden"
                FileMovedIn "x.part"
                FileWritten "created"
                FileMovedIn "moved"
                FolderMovedIn "d"
                FolderCreated "e"
            ]

            let! taken = setup.Taken.Until(fun items -> items.Length = 2)
            Expect.equal "what was renamed" [ "d/1"; "moved" ] [ for name, _ in taken -> name ]

            while setup.Taken.Items.Length < 4 do
                do! setup.Clock.Advance 600_000

            Expect.equal "then the others" [ "created"; "e/1" ] (List.skip 2 setup.Names)
        })

    testCaseTask "events after the last scan are not settled before another" (fun () ->
        task {
            use setup = inboxWithEvents (fun options -> { options with rescan = hour })

            let inbox = setup.Start()
            do! ended (inbox.WaitUntilSettled())
            setup.Temp.Write("in/told of", "a")
            setup.Temp.Write("in/not told of", "b")
            setup.Watcher.Send [ FileMovedIn "told of" ]
            let settled = inbox.WaitUntilSettled()

            while not settled.IsCompleted do
                do! setup.Clock.Advance 50

            Expect.equal "both" [ "not told of"; "told of" ] (List.sort setup.Names)
        })

    testCaseTask "nothing is settled while a file settles" (fun () ->
        task {
            use setup = inboxWithEvents (fun options -> { options with settle = hour })

            setup.WriteNow("settling", "a")
            let inbox = setup.Start()
            do! setup.Clock.Asleep()
            let settled = inbox.WaitUntilSettled()
            setup.Temp.Write("in/b", "b")
            setup.Watcher.Send [ FileMovedIn "b" ]
            let! _ = setup.Taken.Until(fun items -> items.Length = 1)

            // Scans go on, and find nothing new.
            for _ in 1..5 do
                do! setup.Clock.Advance 2_000

            Expect.isFalse "it is pending" settled.IsCompleted

            while not settled.IsCompleted do
                do! setup.Clock.Advance 600_000

            Expect.equal "all of it" [ "b"; "settling" ] setup.Names
        })

    testCaseTask "a folder that is removed takes its files along" (fun () ->
        task {
            use setup = inboxWithEvents (fun options -> { options with rescan = hour })

            for file in [ "d/1"; "d/e/2"; "d2"; "f" ] do
                setup.Temp.Write("in/" + file, file)

            setup.Start() |> ignore
            let! _ = setup.Taken.Until(fun items -> items.Length = 4)
            Directory.Delete(setup.Temp.At "in/d", true)
            IO.File.Delete(setup.Temp.At "in/f")
            setup.Watcher.Send [ Removed "f"; Removed "d2"; FolderRemoved "d" ]
            let! vanished = setup.Vanished.Until(fun items -> items.Length = 3)
            Expect.equal "what is really gone" [ "d/1"; "d/e/2"; "f" ] (List.sort vanished)
        })

    testCaseTask "a watcher that died is replaced" (fun () ->
        task {
            use setup = inboxWithEvents id
            setup.Start() |> ignore
            do! setup.Clock.Asleep()
            do! setup.Clock.Advance 2_000
            Expect.equal "one is enough" 1 setup.Watcher.Starts
            setup.Watcher.Alive <- false
            do! setup.Clock.Advance 2_000
            Expect.equal "another" 2 setup.Watcher.Starts
        })
]

let private withRealEvents = [
    testCaseTask "a file renamed in is taken at once, with the real events" (fun () ->
        task {
            if OperatingSystem.IsLinux() then
                let watch = InboxOptions.watchBySystem NullLogger.Instance

                use setup =
                    inboxWith (fun options -> {
                        options with
                            watch = watch
                            settle = hour
                            rescan = hour
                    })

                let inbox = setup.Start()
                do! ended (inbox.WaitUntilSettled())
                setup.Temp.Write("outside", "x")
                setup.Temp.Write("folder/sub/b", "x")
                setup.Temp.Write("in/written", "x")
                Directory.Move(setup.Temp.At "folder", setup.Temp.At "in/folder")
                IO.File.Move(setup.Temp.At "outside", setup.Temp.At "in/a")
                let! taken = setup.Taken.Until(fun items -> items.Length = 2)

                Expect.equal
                    "both"
                    [ "a"; "folder/sub/b" ]
                    (List.sort [ for name, _ in taken -> name ])

                IO.File.Delete(setup.Temp.At "in/a")
                let! vanished = setup.Vanished.Until(fun items -> not items.IsEmpty)
                Expect.equal "and gone" [ "a" ] vanished
        })
]

[<Tests>]
let tests = testList "InboxTests" (withInjectedEvents @ withRealEvents)
