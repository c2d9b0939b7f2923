/// From `entrada/` to `resultados/`: which files are taken, when, and what becomes of them.
module FsScheduler.System.Tests.FolderTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

[<Tests>]
let tests =
    testList "from entrada/ to resultados/" [
        scenario
            "subfolders, odd names and empty files are kept; what is unfinished or hidden is not taken"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "ÁGUA\r\nFIM")
                place.Put("cartas/à minha avó.txt", "QUERIDA AVÓ,\n")
                place.Put("cartas/2024/vazio.txt", "")
                place.Put("download.crdownload", "X")
                place.Put("x.tmp", "X")
                place.Put(".git/config", "X")

                let! _ =
                    expectOnce place [] 0 [
                        "a.txt.out"
                        "cartas/2024/vazio.txt.out"
                        "cartas/à minha avó.txt.out"
                    ]

                Expect.equal (place.Result "a.txt.out") "água\r\nfim" "line ends are kept"
                Expect.equal (place.Result "cartas/à minha avó.txt.out") "querida avó,\n" "text"
                Expect.equal (place.Result "cartas/2024/vazio.txt.out") "" "empty"
                Expect.isTrue (File.Exists(place.At "entrada/a.txt")) "kept"
            }

        scenario
            "what is not UTF-8 gets NAME.err with its offset and exit code 1, until it is mended"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("good.txt", "BOM")
                place.Put("bad.txt", [| yield! "MAE "B; 0xE9uy; yield! " FIM"B |])
                let! _ = expectOnce place [] 1 [ "bad.txt.err"; "good.txt.out" ]
                let report = place.Result "bad.txt.err"

                for part in
                    [ "lower"; "after attempt 1"; "invalid UTF-8 at byte 4"; "worker local-1" ] do
                    Expect.stringContains report part "the report"

                place.Put("bad.txt", "MÃE É FIM")
                let! _ = expectOnce place [] 0 [ "bad.txt.out"; "good.txt.out" ]
                Expect.equal (place.Result "bad.txt.out") "mãe é fim" "the result"
            }

        scenario "links that lead outside are refused, logged and counted: exit code 1"
        <| fun () ->
            task {
                if OperatingSystem.IsWindows() then
                    skiptest "links need a right of their own there"

                use place = new Workplace()
                File.WriteAllText(place.At "secret.txt", "SECRET")

                File.CreateSymbolicLink(place.At "entrada/out.txt", place.At "secret.txt")
                |> ignore

                File.CreateSymbolicLink(place.At "entrada/up", place.Path) |> ignore
                place.Put("in.txt", "IN")
                File.CreateSymbolicLink(place.At "entrada/same.txt", "in.txt") |> ignore
                let! scheduler = expectOnce place [] 1 [ "in.txt.out"; "same.txt.out" ]
                let! said = scheduler.Says "out.txt is refused"
                Expect.stringContains said "outside" "the reason"
            }

        scenario "--on-done move keeps the subfolder; delete deletes; a failed one stays"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "A")
                place.Put("sub/b.txt", "B")
                place.Put("bad.txt", [| 0xFFuy |])

                let! _ =
                    expectOnce place [ "--on-done"; "move" ] 1 [
                        "a.txt.out"
                        "bad.txt.err"
                        "sub/b.txt.out"
                    ]

                let moved name =
                    File.ReadAllText(place.At $"entrada/.processados/{name}")

                Expect.equal (moved "a.txt", moved "sub/b.txt") ("A", "B") "moved as they were"
                Expect.isFalse (File.Exists(place.At "entrada/a.txt")) "no longer there"
                Expect.isTrue (File.Exists(place.At "entrada/bad.txt")) "not done"
                place.Put("bad.txt", "GOOD")
                let! struct (code, scheduler) = once place [ "--on-done"; "delete" ]
                Expect.equal code 0 scheduler.Said
                Expect.equal (place.Result "bad.txt.out") "good" "done"
                Expect.isFalse (File.Exists(place.At "entrada/bad.txt")) "deleted"
            }

        scenario "a file waits until it has settled; one that is renamed into the folder does not"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("old.txt", "OLD")
                let! struct (scheduler, port) = startScheduler place [ "--settle"; "1h" ]
                use scheduler = scheduler
                use _ = startWorker place port []
                do! eventually "the old file is done" (fun () -> place.HasResult "old.txt.out")
                File.WriteAllText(place.At "entrada/fresh.txt", "FRESH")
                place.Rename("renamed.txt", "RENAMED")

                do!
                    eventually "the renamed file is done" (fun () ->
                        place.HasResult "renamed.txt.out")

                Expect.equal place.Results [ "old.txt.out"; "renamed.txt.out" ] scheduler.Said
            }

        scenario "files that come while it runs are done after the settling time"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place [ "--settle"; "50ms" ]
                use scheduler = scheduler
                use _ = startWorker place port []
                let! _ = scheduler.Says "joined"
                Directory.CreateDirectory(place.At "entrada/new/er") |> ignore
                File.WriteAllText(place.At "entrada/new/er/a.txt", "A")
                do! eventually "it is done" (fun () -> place.HasResult "new/er/a.txt.out")
                Expect.equal (place.Result "new/er/a.txt.out") "a" scheduler.Said
            }

        scenario
            "a file that changes while it is processed ends with the result of its newest version"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "ONE")

                let! struct (scheduler, port) =
                    startScheduler place [ "--once"; "--pipeline"; "slow"; "--expect"; "slow" ]

                use scheduler = scheduler
                use! worker = Peer.worker port "\"slow\"" 2
                let! first = worker.Expect "PROCESS"
                Expect.equal first.payload "ONE"B "the first version"
                place.Rename("a.txt", "TWO")
                // The first is taken back, and the second given out; a late result of the first counts for nothing.
                let! one = worker.Receive()
                let! other = worker.Receive()
                let frames = Map.ofList [ one.Type, one; other.Type, other ]

                Expect.equal
                    (frames["CANCEL"].Number "task")
                    (first.Number "task")
                    "the first is taken back"

                Expect.equal frames["PROCESS"].payload "TWO"B "the second version"
                do! Peer.answer worker first "of one"
                do! Peer.answer worker frames["PROCESS"] "of two"
                let! code = scheduler.Exit
                Expect.equal (code, place.Results) (0, [ "a.txt.out" ]) scheduler.Said
                Expect.equal (place.Result "a.txt.out") "of two" scheduler.Said
            }

        scenario "what a task fails with is tried again, and only then put into quarantine"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "A")

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--once"
                        "--pipeline"
                        "odd"
                        "--expect"
                        "odd"
                        "--max-attempts"
                        "2"
                    ]

                use scheduler = scheduler
                use! worker = Peer.worker port "\"odd\"" 1

                for attempt in [ 1; 2 ] do
                    let! work = worker.Expect "PROCESS"
                    Expect.equal (work.Number "attempt") (int64 attempt) "the attempt"
                    do! Peer.fail worker work $"trouble {attempt}"

                let! code = scheduler.Exit
                Expect.equal (code, place.Results) (1, [ "a.txt.err" ]) scheduler.Said
                let report = place.Result "a.txt.err"

                for part in
                    [ "after attempt 2"; "trouble 1"; "trouble 2"; "worker peer"; "stage odd" ] do
                    Expect.stringContains report part "the report"
            }
    ]
