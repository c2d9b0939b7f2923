/// Disks that are full, or take no file of that size, for real.
module FsScheduler.System.Tests.DiskTests

open System
open System.Diagnostics
open System.IO
open System.Text
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

/// A folder on a file system of its own, of so many KiB.
type private SmallDisk(path: string, kib: int) =
    do
        if not (OperatingSystem.IsLinux()) then
            skiptest "it mounts a tmpfs"

        Directory.CreateDirectory path |> ignore

        if not (tryMountTmpfs $"size={kib}k" path) then
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
        member _.Dispose() = unmountNow path

let private worker =
    """{"type":"HELLO","protocol":1,"role":"worker","name":"w","stages":["lower"]}"""
    + "\n"

let private client =
    """{"type":"HELLO","protocol":1,"role":"client","name":"c"}""" + "\n"

let private joined port hello =
    task {
        let peer = new Peer(port = port)
        do! peer.Write(hello: string)
        let! _ = peer.Expect "WELCOME"
        return peer
    }

let private submit (peer: Peer) ref (bytes: int) =
    task {
        do!
            peer.Write
                $"""{{"type":"SUBMIT","ref":"{ref}","name":"{ref}","pipeline":"lower","bytes":{bytes}}}
{String('A', bytes)}"""
    }

[<Tests>]
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
                let code = exitCodeOf place.Path $"prlimit --pid {scheduler.Id} --fsize=1048576"
                Expect.equal code 0 "the limit"
                place.Put("big.txt", Array.create 3_000_000 (byte 'A'))
                place.Put("small.txt", "SMALL")
                let! said = scheduler.Says "of task 1 could not be stored"
                Expect.stringContains said "ulimit -f" "why"
                do! eventually "the other is done" (fun () -> place.Results = [ "small.txt.out" ])
                Expect.isFalse scheduler.HasExited "it goes on"
            }

        scenario "with no room for a large result has that one wait, and nothing else"
        <| fun () ->
            task {
                use place = new Workplace()
                use disk = new SmallDisk(place.At "resultados", 1_000)
                place.Put("a.txt", Array.create 600_000 (byte 'A'))
                place.Put("b.txt", Array.create 600_000 (byte 'B'))

                // A worker that is lost for the load of the machine is no matter here.
                let! struct (scheduler, port) =
                    startScheduler place [ "--workers"; "1"; "--lost-after"; "5m" ]

                use scheduler = scheduler
                let! said = scheduler.Says "could not be stored"
                Expect.stringContains said (place.At "resultados") "where"
                Expect.stringContains said "No space left" "why"
                do! eventually "one is there" (fun () -> place.Results.Length = 1)
                // The one worker is free for it, and new work is taken.
                place.Rename("small.txt", "SMALL")
                do! eventually "a small one too" (fun () -> place.HasResult "small.txt.out")
                use! peer = joined port client
                do! submit peer "x" 10
                let! _ = peer.Expect "ACCEPTED"
                let! finished = peer.Expect "DONE"
                Expect.equal (finished.Text "ref") "x" "a submission"

                let first =
                    if place.HasResult "a.txt.out" then
                        "a.txt.out"
                    else
                        "b.txt.out"

                let other = if first = "a.txt.out" then 2 else 1

                use explained = startCommand place port [ "explain"; string other ]

                let! _ = explained.Exit
                Expect.stringContains explained.Said "make room, or cancel the task" "what to do"
                File.Delete(place.At $"resultados/{first}")
                do! eventually "the other is there" (fun () -> place.Results.Length = 2)

                Expect.equal
                    (scheduler.Errors.Count(fun line -> line.Contains "held back"))
                    0
                    scheduler.Said

                Expect.equal
                    (scheduler.Errors.Count(fun line -> line.EndsWith " left"))
                    0
                    scheduler.Said
            }

        scenario "that is full has a large result wait, until nobody wants it any more"
        <| fun () ->
            task {
                use place = new Workplace()
                use disk = new SmallDisk(place.At "resultados", 1_000)
                let! struct (scheduler, port) = startScheduler place []
                use scheduler = scheduler
                disk.Fill()
                use! worker = joined port worker
                place.Put("a.txt", Array.create 300_000 (byte 'A'))
                do! worker.Write "{\"type\":\"READY\",\"slots\":1}\n"
                let! _ = worker.Expect "PROCESS"

                let header =
                    "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":300000}\n"

                do! worker.Write(Encoding.UTF8.GetBytes(header + String('r', 300_000)))
                let! _ = scheduler.Says "new work is held back"

                use cancel = startCommand place port [ "cancel"; "1" ]

                let! _ = cancel.Exit
                // The disk is as full as before.
                let! _ = scheduler.Says "it works again"
                Expect.equal place.Results [ ".filler" ] "nothing is left of it"
            }

        scenario "with no room for a large SUBMIT says so, takes others, and it when there is some"
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

                Expect.stringContains (rejected.Text "message") "No space left" "why"
                do! submit peer "small" 10
                let! accepted = peer.Expect "ACCEPTED"
                Expect.equal (accepted.Text "ref") "small" "it holds up nothing else"

                Expect.isEmpty
                    (Directory.GetFiles(place.At ".fs-scheduler/spool"))
                    "nothing is left"

                let! code =
                    exitCodeOf place.Path "mount -o remount,size=20000k .fs-scheduler"
                    |> System.Threading.Tasks.Task.FromResult

                Expect.equal code 0 "a larger disk"
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
                use! other = joined port client
                use! client = joined port client
                use! worker = joined port worker
                do! submit client "x" 10
                let! _ = client.Expect "ACCEPTED"
                do! worker.Write "{\"type\":\"READY\",\"slots\":1}\n"
                let! _ = worker.Expect "PROCESS"
                disk.Fill()
                let held = scheduler.Says "new work is held back"
                let mutable sent = 0

                // The journal has some room of its own.
                while not held.IsCompleted && sent < 500 do
                    do! submit other $"y{sent}" 60_000
                    sent <- sent + 1
                    let! _ = Task.WhenAny(other.TryReceive() :> Task, held :> Task)
                    ()

                let! _ = held

                let header =
                    "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":200000}\n"

                do! worker.Write(Encoding.UTF8.GetBytes(header + String('r', 200_000)))
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
