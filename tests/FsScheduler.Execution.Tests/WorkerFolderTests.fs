/// A worker's own folder: who may use it, what becomes of it when it is taken away, and how it is emptied.
module FsScheduler.Execution.Tests.WorkerFolderTests

open System
open System.IO
open Expecto
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Execution
open FsScheduler.Execution.Exec
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.TestKit

let private onLinux () =
    if not FolderCalls.isAvailable then
        skiptest "it works by calls of Linux"

/// A folder in the place of the one for temporary files.
let private inPlace (body: string -> unit) () =
    onLinux ()
    let place = Directory.CreateTempSubdirectory("fss-place-").FullName

    try
        body place
    finally
        shell "/" $"rm -rf '{place}'"

let private testIn name body = testCase name (inPlace body)

let private places =
    testList "a worker's folder" [
        testIn "is for its user only, and goes with all that is in it"
        <| fun place ->
            let folder = WorkerFolder place

            Expect.equal
                (File.GetUnixFileMode folder.Path)
                (UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute)
                "0700"

            File.WriteAllText(Path.Combine(folder.Root, "in1"), "x")
            Expect.isTrue (File.Exists(Path.Combine(folder.Path, "in1"))) "the same folder"
            Expect.isNull (folder.Probe()) "it takes files"
            Expect.isNull (folder.Remove()) "removed"
            Expect.isEmpty (Directory.GetFileSystemEntries place) "nothing is left"

        testIn "is made anew when it is taken away, and never anybody else's of that name"
        <| fun place ->
            let folder = WorkerFolder place
            let first = folder.Path
            Directory.Delete(first, true)
            // Somebody else is quick, and lays a link where a payload would be written.
            let victim = Path.Combine(place, "victim")
            File.WriteAllText(victim, "precious")
            Directory.CreateDirectory first |> ignore
            File.CreateSymbolicLink(Path.Combine(first, "in1"), victim) |> ignore

            Expect.throws
                (fun () -> File.WriteAllText(Path.Combine(folder.Root, "in1"), "overwritten"))
                "what is gone takes nothing"

            Expect.isTrue (folder.Renew()) "it was gone"
            File.WriteAllText(Path.Combine(folder.Root, "in1"), "a payload")
            Expect.equal (File.ReadAllText victim) "precious" "the link was not followed"
            Expect.notEqual folder.Path first "another name"

            Expect.equal
                (File.ReadAllText(Path.Combine(folder.Path, "in1")))
                "a payload"
                "the same paths lead to the new one"

            Expect.isFalse (folder.Renew()) "it is there"
            let another = WorkerFolder place
            Expect.isTrue (Directory.Exists folder.Path) "the new one is locked like the first"
            Expect.isNull (another.Remove()) "another"
            Expect.isNull (folder.Remove()) "removed"
            Expect.isTrue (Directory.Exists first) "not ours"

        testIn "is locked, and so is the file in it, also once it was made anew"
        <| fun place ->
            let folder = WorkerFolder place

            let expectHeld () =
                for what, lock' in
                    [
                        "the folder", FileLock.TryTakeFolder folder.Path
                        "its file",
                        FileLock.TryTake(Path.Combine(folder.Path, "lock"), FileMode.Open)
                    ] do
                    match lock' with
                    | Error HeldElsewhere -> ()
                    | other -> failtest $"{what}: {other}"

            expectHeld ()
            Directory.Delete(folder.Path, true)
            Expect.isTrue (folder.Renew()) "it was gone"
            expectHeld ()
            Expect.isNull (folder.Remove()) "removed"

        testIn "is made by calls that fail if something is there, and lead to no link"
        <| fun place ->
            Directory.CreateDirectory(Path.Combine(place, "taken")) |> ignore

            File.CreateSymbolicLink(Path.Combine(place, "link"), Path.Combine(place, "taken"))
            |> ignore

            match FolderCalls.openBase place with
            | Error errno -> failtest (Linux.message errno)
            | Ok at ->
                let refused what (opened: Result<int, int>) =
                    match opened with
                    | Error _ -> ()
                    | Ok fd ->
                        Linux.close fd
                        failtest what

                refused "made" (FolderCalls.createFolder at (FolderCalls.bytesOf "taken"))
                refused "followed" (FolderCalls.openFolder at (FolderCalls.bytesOf "link"))
                Linux.close at

        for what, prepare in
            [
                "missing", (fun place -> Path.Combine(place, "nonexistent"))
                "a file",
                fun place ->
                    let file = Path.Combine(place, "file")
                    File.WriteAllText(file, "")
                    file
            ] do
            testIn $"where the folder for temporary files is {what}, it says so in a sentence"
            <| fun place ->
                match
                    (try
                        WorkerFolder(prepare place) |> ignore
                        None
                     with NoWorkerFolder message ->
                         Some message)
                with
                | None -> failtest "it found a place"
                | Some message ->
                    Expect.stringContains message "set TMPDIR" "what to do"
                    Expect.isFalse (message.Contains '\n') "one line"
    ]

let private cleaning =
    testList "emptying it" [
        for what, script in
            [
                "names of any bytes",
                @"touch ""$(printf 'a\377b')""; mkdir ""$(printf '\300')""; touch ""$(printf '\300/\301')"""
                "folders without rights", "mkdir -p a/b; touch a/b/c; chmod 555 a/b; chmod 000 a"
                "fifos, links and loops of links",
                "mkfifo f; ln -s / root; ln -s l l; mkdir d; ln -s ../.. d/up"
                "many files", "i=0; while [ $i -lt 3000 ]; do : > f$i; i=$((i+1)); done"
                "a tree deeper than a path may be",
                "i=0; d=dddddddddddddddddddddddddddddddddddddddddddddddd; while [ $i -lt 300 ]; do mkdir $d && cd -P $d || exit 1; i=$((i+1)); done; : > deep"
            ] do
            testIn $"removes {what}"
            <| fun place ->
                let folder = WorkerFolder place
                let run = RunFolder(folder.Root, "run1")
                shell run.Path script
                let kept = Path.Combine(place, "kept")
                File.WriteAllText(kept, "x")
                let said = ref ""
                run.Remove(fun reason -> said.Value <- reason)
                Expect.equal said.Value "" "nothing stays"
                Expect.isFalse (Directory.Exists(Path.Combine(folder.Path, "run1"))) "gone"
                let again = RunFolder(folder.Root, "run2")
                shell again.Path script
                Expect.isNull (folder.Remove()) "the worker's end removes it too"
                Expect.equal (Directory.GetFileSystemEntries place) [| kept |] "and nothing else"

        testIn "is done for a worker that was killed, by the next one"
        <| fun place ->
            let killed = Path.Combine(place, "fs-worker-killed")
            Directory.CreateDirectory killed |> ignore
            File.WriteAllText(Path.Combine(killed, "lock"), "")

            shell
                killed
                "i=0; d=dddddddddddddddddddddddddddddddddddddddddddddddd; while [ $i -lt 300 ]; do mkdir $d && cd -P $d || exit 1; i=$((i+1)); done"

            let folder = WorkerFolder place
            folder.Cleaning.Wait patience |> ignore
            Expect.isFalse (Directory.Exists killed) "gone"
            Expect.isNull (folder.Remove()) "removed"

        testIn "leaves alone the folder of another user's worker"
        <| fun place ->
            if not Environment.IsPrivilegedProcess then
                skiptest "only root can give a folder away"

            shell
                place
                "mkdir fs-worker-theirs; : > fs-worker-theirs/lock; chown 65534 fs-worker-theirs"

            let folder = WorkerFolder place
            folder.Cleaning.Wait patience |> ignore
            Expect.isTrue (File.Exists(Path.Combine(place, "fs-worker-theirs", "lock"))) "there"
            Expect.isNull (folder.Remove()) "removed"

        testIn "leaves alone what somebody has mounted there"
        <| fun place ->
            if not Environment.IsPrivilegedProcess then
                skiptest "only root may mount"

            let elsewhere = Path.Combine(place, "elsewhere")
            Directory.CreateDirectory elsewhere |> ignore
            File.WriteAllText(Path.Combine(elsewhere, "precious"), "x")
            shell place "chmod 555 elsewhere"
            let folder = WorkerFolder place
            let run = RunFolder(folder.Root, "run1")
            let inside = Path.Combine(run.Path, "deep", "mount")
            Directory.CreateDirectory inside |> ignore

            if exitCodeOf "/" $"mount --bind '{elsewhere}' '{inside}' 2>/dev/null" <> 0 then
                skiptest "this machine lets nobody mount"

            let said = ref ""
            run.Remove(fun reason -> said.Value <- reason)
            Expect.stringContains said.Value "'mount'" "which"
            Expect.isTrue (File.Exists(Path.Combine(elsewhere, "precious"))) "it is not ours"
            Expect.equal (int (File.GetUnixFileMode elsewhere)) 0b101101101 "nor are its rights"
            shell place "umount $(grep -o \"[^ ]*fss-place-[^ ]*/mount\" /proc/self/mounts)"
            Expect.isNull (folder.Remove()) "and goes at the end"
            Expect.isTrue (File.Exists(Path.Combine(elsewhere, "precious"))) "still"
    ]

/// What a program makes of its output in place of a file.
let private outputs =
    testList "exec-file" [
        for what, command, part in
            [
                "a fifo", "mkfifo {out}", "a fifo"
                "a folder", "mkdir {out}", "a folder"
                "a link", "ln -s /etc/passwd {out}", "{out} a link"
                "nothing", "true {out}", "did not write {out}"
            ] do
            unixTest $"fails at once where {what} is in place of the result"
            <| fun () ->
                task {
                    onLinux ()
                    let program = command.Split(' ')[0]
                    use bench = new Bench([ program ])
                    let! struct (message, retry) = bench.Failure("exec-file:" + command, Bytes [||])
                    Expect.stringContains message part "what it is"
                    Expect.stringContains message program "whose"
                    Expect.isTrue retry "another attempt may end better"
                    Expect.isEmpty bench.Left "its folder is gone"
                }

        unixTest "fails at once where a device or a socket is in place of the result"
        <| fun () ->
            task {
                if not Environment.IsPrivilegedProcess then
                    skiptest "only root makes devices"

                use bench = new Bench([ "mknod" ])
                let! struct (message, _) = bench.Failure("exec-file:mknod {out} c 1 5", Bytes [||])
                Expect.stringContains message "a device" "that never ends"
            }
    ]

/// What a program finds of its worker.
let private surroundings =
    testList "a program" [
        unixTest "ignores and blocks no signal"
        <| fun () ->
            task {
                onLinux ()
                Signals.ignoreFileSize ()
                use bench = new Bench([ "grep" ])
                let! text = bench.Text("exec:grep -E 'Sig(Ign|Blk)' /proc/self/status", "")

                Expect.equal
                    text
                    "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
                    "none of them"
            }
    ]

[<Tests>]
let tests =
    testSequencedGroup
        "workers"
        (testList "the worker's machine" [ places; cleaning; outputs; surroundings ])
