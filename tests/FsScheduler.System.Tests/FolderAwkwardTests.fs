/// Folders as people really have them: with temporary names, in one another, and mounted.
module FsScheduler.System.Tests.FolderAwkwardTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

let private temporaryNames = [
    scenario "a folder with a temporary name is nobody's until it is renamed, and then taken once"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, port) =
                startScheduler place [ "--settle"; "50ms"; "--on-done"; "delete" ]

            use scheduler = scheduler
            use _ = startWorker place port []
            let! _ = scheduler.Says "joined"
            place.Put("lote.tmp/a.txt", "A")
            place.Put("lote.tmp/sub/b.txt", "B")
            place.Put("later/c.part/c.txt", "C")
            place.Put("last.txt", "LAST")
            do! eventually "the last one is done" (fun () -> place.HasResult "last.txt.out")
            Expect.equal place.Results [ "last.txt.out" ] scheduler.Said
            Directory.Move(place.At "entrada/lote.tmp", place.At "entrada/lote")

            do!
                eventually "the folder is done" (fun () ->
                    place.HasResult "lote/a.txt.out" && place.HasResult "lote/sub/b.txt.out")

            do!
                eventually "its files are deleted" (fun () ->
                    not (File.Exists(place.At "entrada/lote/a.txt")))

            Expect.isTrue (File.Exists(place.At "entrada/later/c.part/c.txt")) "not touched"

            Expect.equal
                place.Results
                [ "last.txt.out"; "lote/a.txt.out"; "lote/sub/b.txt.out" ]
                scheduler.Said
        }

    scenario "a scan, --once and plan leave such folders and what systems put down alone"
    <| fun () ->
        task {
            use place = new Workplace()
            place.Put("a.txt", "A")

            for name in
                [
                    "lote.tmp/x"
                    "d/lote.part/pipeline.txt"
                    ".d/x"
                    "lost+found/x"
                    "Thumbs.db"
                    "~$a.docx"
                    "sedAbC123"
                    "a.txt~"
                ] do
                place.Put(name, [| 0xFFuy |])

            let! answer = run place [ "plan"; "--json" ]
            expectCode 0 answer
            Expect.stringContains answer.Text "a.txt" "the file"
            Expect.equal ((answer.Text.Split "\"pipeline\":").Length) 2 $"one file: {answer.Text}"
            Expect.isFalse (answer.Text.Contains "refused" || answer.Text.Contains "/x") answer.Text

            let! struct (scheduler, _) = startScheduler place [ "--once"; "--workers"; "1" ]
            use scheduler = scheduler
            let! code = scheduler.Exit
            Expect.equal (code, place.Results) (0, [ "a.txt.out" ]) scheduler.Said
        }

    scenario "--ignore leaves files and folders alone, by events and scans, and plan shows it"
    <| fun () ->
        task {
            use place = new Workplace()
            let ignore = [ "--ignore"; "*.bak"; "--ignore"; "old" ]

            for name in [ "a.txt"; "b.bak"; "old/c.txt"; "d/old/e.txt" ] do
                place.Put(name, "TEXT")

            let! answer = run place ([ "plan"; "--json" ] @ ignore)
            expectCode 0 answer

            for line in
                [
                    """{"ignored":"--ignore '*.bak'","name":"b.bak"}"""
                    """{"ignored":"--ignore 'old'","name":"d/old"}"""
                ] do
                Expect.stringContains answer.Text line "what is left alone, and why"

            Expect.isFalse (answer.Text.Contains "c.txt") "nor what is in it"

            let! struct (scheduler, port) =
                startScheduler place ([ "--settle"; "50ms" ] @ ignore)

            use scheduler = scheduler
            use _ = startWorker place port []
            do! eventually "the first one is done" (fun () -> place.HasResult "a.txt.out")
            place.Rename("old/f.txt", "F")
            place.Rename("g.bak", "G")
            place.Rename("h.txt", "H")
            do! eventually "the last one is done" (fun () -> place.HasResult "h.txt.out")
            Expect.equal place.Results [ "a.txt.out"; "h.txt.out" ] scheduler.Said

            for pattern in [ "/a"; "entrada/old" ] do
                let! answer = run place [ "--ignore"; pattern ]
                expectCode 2 answer
                let! answer = run place [ "plan"; "--ignore"; pattern ]
                expectCode 2 answer
        }
]

let private overlaps = [
    scenario "folders in one another are refused with exit code 2, however they are named"
    <| fun () ->
        task {
            onlyWithLinks ()
            use place = new Workplace()
            place.Put("a.txt", "A")
            Directory.CreateDirectory(place.At "entrada/sub") |> ignore
            Directory.CreateDirectory(place.At "other") |> ignore
            link place "to-entrada" "entrada"
            link place "to-sub" (place.At "entrada/sub")
            link place "dangling" "entrada/not there yet"

            for args in
                [
                    [ "--resultados"; "entrada/out" ]
                    [ "--resultados"; "entrada" ]
                    [ "--resultados"; "entrada/.out" ]
                    [ "--resultados"; "to-entrada/x" ]
                    [ "--resultados"; "to-sub" ]
                    [ "--resultados"; "dangling" ]
                    [ "--resultados"; "other/../entrada/y" ]
                    [ "--resultados"; "." ]
                    [ "--entrada"; "." ]
                    [ "--entrada"; "to-entrada"; "--resultados"; "entrada/sub" ]
                    [ "--state"; "entrada/st" ]
                    [ "--state"; "entrada" ]
                    [ "--state"; "resultados/st" ]
                    [ "--state"; "other"; "--entrada"; "other/spool" ]
                    [ "--token-file"; "to-entrada/a.txt" ]
                    [ "plan"; "--entrada"; "." ]
                    [ "plan"; "--resultados"; "to-sub" ]
                ] do
                let! answer = run place args
                Expect.equal answer.code 2 $"{args}: {answer.Text}"
                Expect.stringContains answer.Text "outside" $"{args}: what to do"

            for args in [ [ "--entrada"; "" ]; [ "--resultados"; "" ]; [ "plan"; "--state"; "" ] ] do
                let! answer = run place args
                Expect.equal answer.code 2 $"{args}: {answer.Text}"
                Expect.stringContains answer.Text "is empty" $"{args}"

            Expect.isFalse (Directory.Exists(place.At "resultados")) "nothing was made"
            Expect.isFalse (Directory.Exists(place.At ".fs-scheduler")) "no state either"
            Expect.equal (Directory.GetFileSystemEntries(place.At "entrada").Length) 2 "as it was"
        }

    scenario "a scheduler that prints to a file among its inputs is refused"
    <| fun () ->
        task {
            if not (OperatingSystem.IsLinux()) then
                skiptest "asks Linux where it prints to"

            use place = new Workplace()
            place.Put("a.txt", "A")

            let args =
                $"exec '{schedulerPath}' --once --listen 127.0.0.1:0 2> entrada/s.log > entrada/.o"

            use shell = inShell place args
            let! code = shell.Exit
            let said = File.ReadAllText(place.At "entrada/s.log")
            Expect.equal code 2 said
            Expect.stringContains said "'s.log'" "which"
        }

    scenario "a folder that is mounted elsewhere, or whose subfolder is, is known again"
    <| fun () ->
        task {
            use place = new Workplace()
            place.Put("sub/a.txt", "A")
            place.Put("disk/a.txt", "A")

            for folder in [ "whole"; "a part"; "disk"; "apart"; "below" ] do
                Directory.CreateDirectory(place.At folder) |> ignore

            let mounted = Collections.Generic.Stack<string>()

            let bind (source: string) (target: string) =
                task {
                    do! mount place [ "--bind"; place.At source; place.At target ]
                    mounted.Push(place.At target)
                }

            try
                do! bind "entrada" "whole"
                // Of two at one point, the later one is there.
                do! bind "below" "a part"
                do! bind "entrada/sub" "a part"
                // What is mounted below the folder of inputs is in it.
                do! bind "apart" "entrada/disk"
                Directory.CreateDirectory(place.At "apart/results") |> ignore

                for folder in
                    [ "whole"; "whole/new"; "a part"; "a part/new"; "apart"; "apart/results" ] do
                    let! answer = run place [ "--resultados"; folder ]
                    Expect.equal answer.code 2 $"{folder}: {answer.Text}"
                    let! answer = run place [ "--state"; folder ]
                    Expect.equal answer.code 2 $"{folder}: {answer.Text}"

                // A part of the one in the other.
                Directory.CreateDirectory(place.At "resultados/sub") |> ignore

                for source, target in
                    [ "entrada/sub", "resultados/sub"; "resultados/sub", "entrada/sub" ] do
                    do! bind source target
                    let! answer = run place []
                    Expect.equal answer.code 2 $"{source} at {target}: {answer.Text}"
                    Expect.stringContains answer.Text "mounted in" $"{source} at {target}"
                    do! unmount place (mounted.Pop())
            finally
                for target in mounted do
                    unmountNow target
        }
]

[<Tests>]
let tests = testList "awkward folders" (temporaryNames @ overlaps)
