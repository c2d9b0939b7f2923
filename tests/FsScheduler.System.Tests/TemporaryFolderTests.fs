/// Workers whose folder for temporary files is missing, full or deleted.
module FsScheduler.System.Tests.TemporaryFolderTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

/// A worker with a folder for temporary files of its own, and its scheduler, which lets no task fail twice.
let private withTemporaryFolder (place: Workplace) (args: string list) =
    task {
        let temporary = place.At "tmp"
        Directory.CreateDirectory temporary |> ignore
        let! struct (scheduler, port) = startScheduler place [ "--max-attempts"; "1" ]
        let args = [ "--connect"; $"127.0.0.1:{port}" ] @ args
        let worker = withVariables [ $"TMPDIR={temporary}" ] place.Path workerPath args
        return struct (temporary, scheduler, port, worker)
    }

let private temporaryFolders =
    testList "a folder for temporary files" [
        for what, prepare in
            [
                "that is missing", (fun (place: Workplace) -> place.At "nonexistent")
                "that is a file",
                fun place ->
                    File.WriteAllText(place.At "file", "")
                    place.At "file"
                "that is relative and missing", (fun _ -> "not/here")
            ] do
            scenario $"{what} ends a worker with a sentence and 3"
            <| fun () ->
                task {
                    onLinux ()
                    use place = new Workplace()

                    use worker =
                        withVariables [ $"TMPDIR={prepare place}" ] place.Path workerPath []

                    let! code = worker.Exit
                    Expect.equal code 3 $"it cannot start. {worker.Said}"
                    Expect.stringContains (oneSentence worker) "TMPDIR" "what to do"
                }

        scenario "that is full ends a worker with a sentence and 3"
        <| fun () ->
            task {
                asRoot ()
                use place = new Workplace()
                let full = place.At "full"
                Directory.CreateDirectory full |> ignore

                do! mount place [ "-t"; "tmpfs"; "-o"; "size=16k"; "none"; full ]

                try
                    use worker = withVariables [ $"TMPDIR={full}" ] place.Path workerPath []
                    let! code = worker.Exit
                    Expect.equal code 3 $"it cannot start. {worker.Said}"
                    Expect.stringContains (oneSentence worker) "No space left" "why"

                    Expect.isEmpty
                        (Directory.GetDirectories(full, "fs-worker-*"))
                        "nothing is left there"
                finally
                    unmountNow full
            }

        scenario "that none of its own workers can use ends a scheduler with --once"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()
                place.Put("a.txt", "A")

                let nowhere = place.At "nonexistent"

                use scheduler =
                    withVariables [ $"TMPDIR={nowhere}" ] place.Path schedulerPath [
                        "--listen"
                        "127.0.0.1:0"
                        "--workers"
                        "2"
                        "--once"
                    ]

                let! code = scheduler.Exit
                Expect.equal code 3 $"it can never do its job. {scheduler.Said}"

                let last =
                    scheduler.Errors.All |> List.filter _.StartsWith("fs-scheduler: ") |> List.last

                Expect.stringContains last "TMPDIR" "why, and what to do"
                Expect.isFalse (place.HasResult "a.txt.out") "nothing was done"
            }

        scenario "that was emptied under a worker costs no task an attempt"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()

                let! struct (temporary, scheduler, port, worker) =
                    withTemporaryFolder place [ "--allow-exec"; "sh" ]

                use _ = scheduler
                use worker = worker

                let large = String.replicate 300_000 "A line\n"
                place.Put("first.txt", large)
                do! eventually "the first" (fun () -> place.HasResult "first.txt.out")

                let folders () =
                    Directory.GetDirectories(temporary, "fs-worker-*")

                let before = folders ()
                Expect.equal before.Length 1 "its folder"
                Directory.Delete(before[0], true)
                place.Put("second.txt", large)
                do! eventually "the second" (fun () -> place.HasResult "second.txt.out")
                Expect.equal place.Results [ "first.txt.out"; "second.txt.out" ] worker.Said
                let after = folders ()
                Expect.equal after.Length 1 "another folder"

                Expect.equal
                    (File.GetUnixFileMode after[0])
                    (UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute)
                    "0700"

                // A program that fails because of that is not to blame either; this one sees to it itself.
                File.WriteAllText(place.At "third.txt", "THIRD")
                let marker = place.At "marker"

                let once =
                    $"if [ -e {marker} ]; then cat; else touch {marker}; rm -rf {temporary}/fs-worker-*; exit 1; fi"

                use submit =
                    startCommand place port [
                        "submit"
                        "third.txt"
                        "--pipeline"
                        $"exec:sh -c '{once}'"
                    ]

                let! code = submit.Exit
                Expect.equal code 0 submit.Said

                worker.Signal Signal.Term
                let! _ = worker.Exit
                Expect.isEmpty (folders ()) "it goes with the worker"
            }

        scenario
            "that nothing can be made in any more has its worker leave, and costs no task an attempt"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()
                let! struct (temporary, scheduler, port, worker) = withTemporaryFolder place []
                use _ = scheduler
                use worker = worker

                place.Put("small.txt", "A")
                do! eventually "the first" (fun () -> place.HasResult "small.txt.out")
                Directory.Delete(temporary, true)
                place.Put("large.txt", String.replicate 300_000 "A line\n")
                let! code = worker.Exit
                Expect.equal code 3 $"it leaves. {worker.Said}"
                Expect.stringContains (oneSentence worker) "TMPDIR" "why"
                use another = startWorker place port []
                do! eventually "the other one does it" (fun () -> place.HasResult "large.txt.out")
                Expect.equal place.Results [ "large.txt.out"; "small.txt.out" ] another.Said
            }
    ]

[<Tests>]
let tests = testList "awkward machines" [ temporaryFolders ]
