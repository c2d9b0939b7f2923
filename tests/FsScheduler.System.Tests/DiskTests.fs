/// Disks that are full, or take no file of that size, for real.
module FsScheduler.System.Tests.DiskTests

open System
open System.Diagnostics
open System.IO
open System.Text
open Expecto
open FsScheduler.System.Tests.Farm

let private run (program: string) (args: string list) =
    use child = nonNull (Process.Start(ProcessStartInfo(program, args)))
    child.WaitForExit()
    child.ExitCode

/// A folder on a file system of its own, of so many KiB.
type private SmallDisk(path: string, kib: int) =
    do
        if not (OperatingSystem.IsLinux()) then
            skiptest "it mounts a tmpfs"

        Directory.CreateDirectory path |> ignore

        if run "mount" [ "-t"; "tmpfs"; "-o"; $"size={kib}k"; "tmpfs"; path ] <> 0 then
            skiptest "only root may mount a tmpfs"

    let filler = Path.Combine(path, ".filler")

    /// Until nothing fits any more.
    member _.Fill() =
        use file = File.Create(filler, 1)
        let block = Array.zeroCreate 4_096

        try
            while true do
                file.Write(block, 0, block.Length)
        with :? IOException ->
            ()

    member _.Free() = File.Delete filler

    interface IDisposable with
        member _.Dispose() = run "umount" [ "-l"; path ] |> ignore

let private worker =
    """{"type":"HELLO","protocol":1,"role":"worker","name":"w","stages":["lower"]}"""
    + "\n"

let private client =
    """{"type":"HELLO","protocol":1,"role":"client","name":"c"}""" + "\n"

let private joined port hello =
    task {
        let peer = new Peer(port)
        do! peer.Send(hello: string)
        let! _ = peer.Expect "WELCOME"
        return peer
    }

let private submit (peer: Peer) ref (bytes: int) =
    task {
        do!
            peer.Send
                $"""{{"type":"SUBMIT","ref":"{ref}","name":"{ref}","pipeline":"lower","bytes":{bytes}}}
{String('A', bytes)}"""
    }

let private troubleOf (peer: Peer) =
    task {
        do! peer.Send "{\"type\":\"STATUS\"}\n"
        let! status = peer.Expect "STATUS"
        return status.Text "trouble"
    }

let tests =
    testList "a disk" [
        scenario "that takes no file of that size fails that file, and nothing else"
        <| fun () ->
            task {
                if not (OperatingSystem.IsLinux()) then
                    skiptest "it sets the limit of a running process"

                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place []
                use scheduler = scheduler
                use _ = startWorker place port []
                // Not from the start: the runtime itself needs larger ones.
                let code = run "prlimit" [ "--pid"; string scheduler.Id; "--fsize=1048576" ]
                Expect.equal code 0 "the limit"
                place.Put("big.txt", Array.create 3_000_000 (byte 'A'))
                place.Put("small.txt", "SMALL")
                let! said = scheduler.Says "of task 1 could not be stored"
                Expect.stringContains said "ulimit -f" "why"
                do! eventually "the other is done" (fun () -> place.Results = [ "small.txt.out" ])
                Expect.isFalse scheduler.HasExited "it goes on"
            }

        scenario "with no room for a large result has it wait, and its worker stay"
        <| fun () ->
            task {
                use place = new Workplace()
                use disk = new SmallDisk(place.At "resultados", 1_000)
                place.Put("a.txt", Array.create 600_000 (byte 'A'))
                place.Put("b.txt", Array.create 600_000 (byte 'B'))

                let! struct (scheduler, port) =
                    startScheduler place [ "--workers"; "1"; "--lost-after"; "1s" ]

                use scheduler = scheduler
                let! said = scheduler.Says "new work is held back"
                Expect.stringContains said (place.At "resultados") "where"
                use! peer = joined port client
                do! submit peer "x" 10
                let! rejected = peer.Expect "REJECTED"
                Expect.equal (rejected.Text "code") "busy" "held back"
                let! trouble = troubleOf peer
                Expect.stringContains trouble "resultados" "STATUS says so"
                do! eventually "one is there" (fun () -> place.Results.Length = 1)
                // Longer than lost-after: the worker waits with its result, and is not lost.
                let clock = Stopwatch.StartNew()

                do!
                    eventually "3 s have passed" (fun () ->
                        clock.Elapsed > TimeSpan.FromSeconds 3.0)

                File.Delete(place.At $"resultados/{place.Results[0]}")
                let! _ = scheduler.Says "it works again"
                do! eventually "the other is there" (fun () -> place.Results.Length = 1)

                Expect.equal
                    (scheduler.Errors.Count(fun line -> line.EndsWith " left"))
                    0
                    scheduler.Said

                Expect.equal
                    (scheduler.Errors.Count(fun line -> line.Contains "joined"))
                    1
                    scheduler.Said

                use events = fsScheduler place.Path [ "events"; "--connect"; $"127.0.0.1:{port}" ]
                let! _ = events.Exit

                let count (event: string) =
                    events.Output.Count(fun line -> line.Contains $"\"{event}\"")

                Expect.equal (count "assigned", count "completed") (2, 2) events.Said
            }

        scenario "with no room for a large SUBMIT says so, and takes work again when there is some"
        <| fun () ->
            task {
                use place = new Workplace()
                use disk = new SmallDisk(place.At ".fs-scheduler", 3_000)
                let! struct (scheduler, port) = startScheduler place []
                use scheduler = scheduler
                use! peer = joined port client
                do! submit peer "large" 4_000_000
                let! rejected = peer.Expect "REJECTED"

                Expect.equal
                    (rejected.Text "code", rejected.Text "ref")
                    ("busy", "large")
                    $"{rejected}"

                let! said = scheduler.Says "new work is held back"
                Expect.stringContains said "spool" "where"
                let! trouble = troubleOf peer
                Expect.stringContains trouble "spool" "STATUS says so"

                Expect.isEmpty
                    (Directory.GetFiles(place.At ".fs-scheduler/spool"))
                    "nothing is left"

                let! code =
                    run "mount" [ "-o"; "remount,size=20000k"; place.At ".fs-scheduler" ]
                    |> System.Threading.Tasks.Task.FromResult

                Expect.equal code 0 "a larger disk"
                let! _ = scheduler.Says "it works again"
                do! submit peer "large" 4_000_000
                let! accepted = peer.Expect "ACCEPTED"
                Expect.equal (accepted.Text "ref") "large" "taken"
            }

        scenario
            "that takes nothing of the journal keeps a worker that brings a large result, and ends in time"
        <| fun () ->
            task {
                use place = new Workplace()
                use disk = new SmallDisk(place.At ".fs-scheduler", 3_000)
                let! struct (scheduler, port) = startScheduler place [ "--lost-after"; "1s" ]
                use scheduler = scheduler
                use! client = joined port client
                use! worker = joined port worker
                do! submit client "x" 10
                let! _ = client.Expect "ACCEPTED"
                do! worker.Send "{\"type\":\"READY\",\"slots\":1}\n"
                let! _ = worker.Expect "PROCESS"
                disk.Fill()
                do! submit client "y" 10_000
                let! _ = scheduler.Says "new work is held back"

                let header =
                    "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":200000}\n"

                do! worker.Send(Encoding.UTF8.GetBytes(header + String('r', 200_000)))
                // Twelve beats of a third of a second and more: it was cut off after ten seconds once.
                let clock = Stopwatch.StartNew()

                while clock.Elapsed < TimeSpan.FromSeconds 12.0 do
                    let! frame = worker.TryReceive()
                    Expect.isSome frame "the connection stays"

                disk.Free()
                let! _ = scheduler.Says "it works again"
                let mutable ended = false

                while not ended do
                    let! frame = client.Receive()
                    ended <- frame.Type = "DONE" && frame.Text "ref" = "x"

                    if ended then
                        Expect.equal frame.payload.Length 200_000 "the result"
            }
    ]
