/// Whose the files of schedulers and workers are: their rights, other users, and locks.
module FsScheduler.System.Tests.OwnershipTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

let private rights =
    scenario "what a scheduler keeps is its owner's, and results are as the umask says"
    <| fun () ->
        task {
            if OperatingSystem.IsWindows() then
                skiptest "modes are Unix's"

            use place = new Workplace()
            let state = place.At "state"
            // As an earlier version left it.
            Directory.CreateDirectory(place.At "state/spool") |> ignore
            let others = Convert.ToInt32("755", 8) |> enum<UnixFileMode>
            File.SetUnixFileMode(state, others)
            File.SetUnixFileMode(place.At "state/spool", others)

            place.Put("small.txt", "SEGREDO")
            place.Put("large.txt", String.replicate 50_000 "SEGREDO\n")
            File.SetUnixFileMode(place.At "entrada/small.txt", UnixFileMode.UserRead)

            let rightsBelow () = [
                for path in
                    Seq.append
                        [ state ]
                        (Directory.EnumerateFileSystemEntries(
                            state,
                            "*",
                            EnumerationOptions(
                                RecurseSubdirectories = true,
                                AttributesToSkip = FileAttributes.None
                            )
                        )) do
                    let mode = File.GetUnixFileMode path

                    if int mode &&& Convert.ToInt32("077", 8) <> 0 then
                        $"{path}: {mode}"
            ]

            use scheduler =
                inShell
                    place
                    $"umask 022; exec '{schedulerPath}' --state state --listen 127.0.0.1:0 --pipeline 'lower|nobody' --expect nobody"

            let! line = scheduler.Output.First(fun line -> line.StartsWith "listening")
            let port = int (line.Substring(line.LastIndexOf ':' + 1))
            let! _ = scheduler.Says "its rights are now"

            use worker = startWorker place port []

            let isSpooled () =
                Directory.EnumerateFiles(place.At "state/spool") |> Seq.isEmpty |> not

            do! eventually "a payload waits on the disk" isSpooled
            Expect.isEmpty (rightsBelow ()) "while it runs"

            let data = place.At "data"

            use submit =
                inShell
                    place
                    $"umask 022; XDG_DATA_HOME='{data}' exec '{schedulerPath}' submit entrada/small.txt --pipeline lower --out feitas --connect 127.0.0.1:{port}"

            let! code = submit.Exit
            Expect.equal code 0 submit.Said

            Expect.equal
                (int (File.GetUnixFileMode(Path.Combine(data, "fs-scheduler/submitted"))))
                (Convert.ToInt32("700", 8))
                "what a client remembers"

            scheduler.Signal Signal.Term
            let! _ = scheduler.Exit
            Expect.isEmpty (rightsBelow ()) "afterwards"

            use once =
                inShell
                    place
                    $"umask 022; exec '{schedulerPath}' --state other --listen 127.0.0.1:0 --workers 1 --once"

            let! code = once.Exit
            Expect.equal code 0 once.Said

            for name in [ "small.txt.out"; "large.txt.out" ] do
                Expect.equal
                    (int (File.GetUnixFileMode(place.At $"resultados/{name}")))
                    (Convert.ToInt32("644", 8))
                    name
        }

let private otherUsers =
    scenario "a state folder of another user is refused"
    <| fun () ->
        task {
            if Environment.UserName <> "root" || not (OperatingSystem.IsLinux()) then
                skiptest "only root can make a folder of another user"

            use place = new Workplace()
            use giving = inShell place "mkdir state && chown 65534 state"
            let! _ = giving.Exit
            use scheduler = fsScheduler place.Path [ "--state"; "state"; "--once" ]
            let! code = scheduler.Exit
            Expect.equal code 3 scheduler.Said
            Expect.stringContains scheduler.Said "belongs to another user (65534)" "why"
        }

let private removedState =
    scenario "a state folder that is removed ends its scheduler"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, _) = startScheduler place []
            use scheduler = scheduler
            Directory.Move(place.At ".fs-scheduler", place.At "elsewhere")
            let! code = scheduler.Exit
            Expect.equal code 3 scheduler.Said
            Expect.stringContains scheduler.Said "was removed or replaced" "why"
        }

let private withoutLocks =
    scenario "two schedulers do not share a state, though the runtime locks no files"
    <| fun () ->
        task {
            use place = new Workplace()
            let unlocked = "DOTNET_SYSTEM_IO_DISABLEFILELOCKING=1 exec"

            use first =
                inShell place $"{unlocked} '{schedulerPath}' --listen 127.0.0.1:0 --workers 1"

            let! _ =
                awaited "it listens" (first.Output.First(fun line -> line.StartsWith "listening"))

            use second =
                inShell place $"{unlocked} '{schedulerPath}' --listen 127.0.0.1:0 --once"

            let! code = second.Exit
            Expect.equal code 3 second.Said
            Expect.stringContains second.Said "another scheduler works with the folder" "why"
            // Nor by a deleted lock.
            File.Delete(place.At ".fs-scheduler/lock")

            if OperatingSystem.IsLinux() then
                use third =
                    inShell place $"{unlocked} '{schedulerPath}' --listen 127.0.0.1:0 --once"

                let! code = third.Exit
                Expect.equal code 3 third.Said

            place.Put("a.txt", "A")
            do! eventually "the first goes on" (fun () -> place.HasResult "a.txt.out")
        }

let private workersWithoutLocks =
    scenario "a worker leaves the folder of another alone, though the runtime locks no files"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler
            let temporary = place.At "temporary"
            Directory.CreateDirectory temporary |> ignore

            let start name =
                inShell
                    place
                    $"TMPDIR=temporary DOTNET_SYSTEM_IO_DISABLEFILELOCKING=1 exec '{workerPath}' --connect 127.0.0.1:{port} --name {name}"

            use first = start "first"
            let! _ = scheduler.Says "worker first"
            use second = start "second"
            let! _ = scheduler.Says "worker second"

            Expect.hasLength
                (Directory.GetDirectories(temporary, "fs-worker-*"))
                2
                (first.Said + second.Said)
        }

[<Tests>]
let tests =
    testList "readers" [ rights; otherUsers; removedState; withoutLocks; workersWithoutLocks ]
