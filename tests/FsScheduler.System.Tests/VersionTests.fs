/// Files that change: what counts as another version, and what happens to whoever still writes.
module FsScheduler.System.Tests.VersionTests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

/// Other bytes with the size and the time of the older ones.
let private replace (place: Workplace) (text: string) =
    shell
        (place.At "entrada")
        $"printf '%%s' '{text}' > ../new; touch -r a.txt ../new; mv ../new a.txt"

let private hasResult (place: Workplace) (scheduler: Program) (text: string) =
    eventuallyOf scheduler patience $"the result '{text}'" (fun () ->
        place.HasResult "a.txt.out" && place.Result "a.txt.out" = text)

let private sameSizeAndTime = [
    scenario "other bytes with the same size and time are processed, while running and after a rest"
    <| fun () ->
        task {
            onLinux ()
            use place = new Workplace()
            place.Put("a.txt", "ONE")

            do!
                task {
                    let! struct (scheduler, _) = startScheduler place [ "--workers"; "1" ]
                    use scheduler = scheduler
                    do! hasResult place scheduler "one"
                    replace place "TWO"
                    do! hasResult place scheduler "two"
                    scheduler.Signal Signal.Term
                    let! _ = scheduler.Exit
                    ()
                }

            replace place "SIX"
            let! struct (code, scheduler) = once place []
            Expect.equal (code, place.Result "a.txt.out") (0, "six") scheduler.Said
            let! struct (code, scheduler) = once place []
            Expect.equal code 0 scheduler.Said
        }

    scenario "what was not processed is never deleted, whatever its size and time"
    <| fun () ->
        task {
            onLinux ()
            use place = new Workplace()
            // It is replaced while it is being processed: by the program that processes it.
            let swap, folder = place.At "swap", place.At "entrada"

            File.WriteAllText(
                swap,
                $"#!/bin/sh\ncd '{folder}'\nif [ ! -e ../swapped ]; then touch ../swapped; printf TWO > ../new; touch -r a.txt ../new; mv ../new a.txt; fi\nexec cat\n"
            )

            shell place.Path "chmod 755 swap"
            place.Put("a.txt", "ONE")

            let! struct (code, scheduler) =
                once place [
                    "--on-done"
                    "delete"
                    "--allow-exec"
                    swap
                    "--pipeline"
                    $"exec:{swap}"
                ]

            Expect.equal (code, place.Result "a.txt.out") (0, "TWO") scheduler.Said
            Expect.isFalse (File.Exists(place.At "entrada/a.txt")) "processed, and so deleted"
        }

    scenario "a time before the year 1, or after 9999, is none to trip over"
    <| fun () ->
        task {
            if not (Directory.Exists "/dev/shm") then
                skiptest "needs a file system that keeps such times: /dev/shm"

            use place = new Workplace()
            let folder = Directory.CreateDirectory $"/dev/shm/fss-{Guid.NewGuid()}"

            try
                for what in [ "move"; "delete" ] do
                    shell folder.FullName "printf A > a.txt; touch -d @-99999999999 a.txt"
                    shell folder.FullName "printf B > b.txt; touch -d @999999999999 b.txt"

                    let! struct (code, scheduler) =
                        once place [ "--on-done"; what; "--entrada"; folder.FullName ]

                    Expect.equal code 0 scheduler.Said
                    Expect.equal place.Results [ "a.txt.out"; "b.txt.out" ] scheduler.Said
                    Expect.isFalse (File.Exists $"{folder.FullName}/b.txt") scheduler.Said
                    Directory.Delete(place.At "resultados", true)
            finally
                folder.Delete true
        }
]

let private writers = [
    for what in [ "delete"; "move" ] do
        scenario $"a file that is still written to is not taken with --on-done {what}"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()

                let! struct (scheduler, _) =
                    startScheduler place [
                        "--workers"
                        "1"
                        "--on-done"
                        what
                        "--settle"
                        "20ms"
                        "--log-level"
                        "debug"
                    ]

                use scheduler = scheduler
                let file = place.At "entrada/a.txt"

                do!
                    task {
                        use writer = new FileStream(file, FileMode.CreateNew, FileAccess.Write)
                        writer.Write(ReadOnlySpan "HALF, "B)
                        writer.Flush()
                        let! _ = scheduler.Says "a.txt is not taken yet"
                        Expect.isFalse (place.HasResult "a.txt.out") "nothing yet"
                        writer.Write(ReadOnlySpan "AND THE REST"B)
                    }

                do! hasResult place scheduler "half, and the rest"
                do! eventuallyOf scheduler patience "gone" (fun () -> not (File.Exists file))

                if what = "move" then
                    let moved = File.ReadAllText(place.At "entrada/.processados/a.txt")
                    Expect.equal moved "HALF, AND THE REST" "all of it"
            }

    scenario "a pause in the middle, with keep, gives a half result that the next version replaces"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, _) =
                startScheduler place [ "--workers"; "1"; "--settle"; "20ms" ]

            use scheduler = scheduler

            use writer =
                new FileStream(
                    place.At "entrada/a.txt",
                    FileMode.CreateNew,
                    FileAccess.Write,
                    FileShare.ReadWrite
                )

            writer.Write(ReadOnlySpan "HALF, "B)
            writer.Flush()
            do! hasResult place scheduler "half, "
            writer.Write(ReadOnlySpan "AND THE REST"B)
            writer.Flush()
            do! hasResult place scheduler "half, and the rest"
        }

    scenario "a file that changes faster than it is processed has results all the same"
    <| fun () ->
        task {
            onLinux ()
            use place = new Workplace()
            let slow = place.At "slow"
            // As long as it takes: until the test lets the third one go on.
            File.WriteAllText(
                slow,
                "#!/bin/sh\ntext=$(cat)\ntouch \"$1/began-$text\"\nwhile [ ! -e \"$1/free-$text\" ]; do sleep 0.02; done\nprintf '%s' \"$text\"\n"
            )

            shell place.Path "chmod 755 slow"

            let! struct (scheduler, _) =
                startScheduler place [
                    "--workers"
                    "1"
                    "--settle"
                    "20ms"
                    "--allow-exec"
                    slow
                    "--pipeline"
                    $"exec:{slow} {place.Path}"
                ]

            use scheduler = scheduler

            for version in [ "x"; "xx"; "xxx" ] do
                place.Rename("a.txt", version)
                let began = place.At $"began-{version}"
                do! eventuallyOf scheduler patience began (fun () -> File.Exists began)

            // The third may finish, and the fifth is run when it has.
            place.Rename("a.txt", "xxxx")
            place.Rename("a.txt", "xxxxx")
            File.WriteAllText(place.At "free-xxx", "")
            do! hasResult place scheduler "xxx"
            File.WriteAllText(place.At "free-xxxxx", "")
            do! hasResult place scheduler "xxxxx"
        }

    scenario "--once-timeout ends with exit code 1, and names what never rests"
    <| fun () ->
        task {
            use place = new Workplace()
            place.Put("done.txt", "A")
            use stop = new CancellationTokenSource()

            let growing =
                Task.Run(fun () ->
                    while not stop.IsCancellationRequested do
                        File.AppendAllText(place.At "entrada/log.txt", "x")
                        Thread.Sleep 20)

            try
                let! struct (code, scheduler) = once place [ "--once-timeout"; "5s" ]
                Expect.equal code 1 scheduler.Said
                Expect.equal place.Results [ "done.txt.out" ] scheduler.Said
                let! said = scheduler.Says "--once-timeout"
                Expect.stringContains said "log.txt" scheduler.Said
            finally
                stop.Cancel()
                growing.Wait()
        }
]

let private elsewhere = [
    scenario "a move to a full file system leaves the input whole, and nothing half behind"
    <| fun () ->
        task {
            onLinux ()
            use place = new Workplace()
            let disk = place.At "disk"
            Directory.CreateDirectory disk |> ignore

            if not (tryMountTmpfs "size=64k" (place.At "disk")) then
                skiptest "only root may mount a tmpfs"

            try
                File.CreateSymbolicLink(place.At "entrada/.processados", disk) |> ignore
                place.Put("big.txt", String('A', 300_000))
                place.Put("small.txt", "A")
                let! struct (code, scheduler) = once place [ "--on-done"; "move" ]
                Expect.equal code 0 scheduler.Said
                Expect.isTrue (File.Exists(place.At "entrada/big.txt")) scheduler.Said
                Expect.equal (FileInfo(place.At "entrada/big.txt").Length) 300_000L "whole"
                let! said = scheduler.Says "big.txt is done and stays where it is"
                Expect.stringContains said "cannot be moved" "why"

                let there =
                    Directory.EnumerateFiles(
                        disk,
                        "*",
                        EnumerationOptions(AttributesToSkip = FileAttributes.None)
                    )
                    |> Seq.map (fun path -> nonNull (Path.GetFileName path))
                    |> List.ofSeq

                Expect.equal there [ "small.txt" ] "no half file"
            finally
                unmountNow (place.At "disk")
        }

    scenario "what could not be read is taken out of quarantine when it can be, by itself"
    <| fun () ->
        task {
            onLinux ()
            use place = new Workplace()

            // Root reads everything; another user has to be somebody's to become.
            if
                exitCodeOf
                    place.Path
                    "[ $(id -u) = 0 ] && setpriv --reuid 65534 --clear-groups true"
                <> 0
            then
                skiptest "only root can run it as another user, by setpriv"

            place.Put("file.txt", "A")
            place.Put("folder/a.txt", "B")
            shell place.Path "chmod 755 .; chown -R 65534 .; chmod 000 entrada/file.txt"

            use scheduler =
                new Program(
                    "/usr/bin/env",
                    [
                        "setpriv"
                        "--reuid"
                        "65534"
                        "--clear-groups"
                        "env"
                        "HOME=/tmp"
                        schedulerPath
                        "--listen"
                        "127.0.0.1:0"
                        "--workers"
                        "1"
                        "--max-attempts"
                        "1"
                    ],
                    place.Path
                )

            let! _ = scheduler.Says "file.txt is in quarantine"
            shell place.Path "chmod 644 entrada/file.txt"

            do!
                eventuallyOf scheduler patience "read" (fun () ->
                    place.Results = [ "file.txt.out"; "folder/a.txt.out" ])

            scheduler.Signal Signal.Term
            let! _ = scheduler.Exit
            ()
        }
]

[<Tests>]
let tests = testList "versions of a file" (sameSizeAndTime @ writers @ elsewhere)
