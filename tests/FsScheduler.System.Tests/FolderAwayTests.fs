/// A folder of inputs that is away for a while, or really deleted.
module FsScheduler.System.Tests.FolderAwayTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

/// Runs `fs-scheduler status` against a scheduler, for a number in it.
let private statusOf (place: Workplace) (port: int) (name: string) =
    task {
        let! status = ask place port [ "status"; "--json" ]
        expectCode 0 status
        return int64 (field name (List.exactlyOne status.Json))
    }

/// A worker that runs `lower` alone can do only `first.txt`.
let private pipelines = [ "--pipeline"; "upper | lower | upper"; "--route"; "first*=lower" ]

/// A scheduler that has done `first.txt`, and has three files queued of which nobody runs the stage.
let private withQueue (place: Workplace) (body: Program -> int -> Task<unit>) =
    task {
        for name in [ "first"; "a"; "b"; "c" ] do
            place.Put($"{name}.txt", name.ToUpperInvariant())

        let! struct (scheduler, port) = startScheduler place pipelines
        use scheduler = scheduler
        use _ = startWorker place port [ "--stages"; "lower" ]
        do! eventually "the first one is done" (fun () -> place.HasResult "first.txt.out")
        do! body scheduler port
    }

/// The files are away: a worker comes, and finds none. Then they are back, and all is done, once.
let private survives
    (place: Workplace)
    (scheduler: Program)
    (port: int)
    (bringBack: unit -> Task<unit>)
    =
    task {
        let! _ = scheduler.Says "gone all at once"
        use _ = startWorker place port [ "--stages"; "upper" ]

        do!
            eventually "both workers are there" (fun () ->
                scheduler.Errors.Count(fun line -> line.Contains "joined") = 2)

        do! bringBack ()

        do!
            eventuallyOf scheduler patience "all is done" (fun () ->
                List.forall place.HasResult [ "a.txt.out"; "b.txt.out"; "c.txt.out" ])

        let! cancelled = statusOf place port "cancelled"
        let! finished = statusOf place port "finished"

        Expect.equal
            (cancelled, finished)
            (0L, 4L)
            $"nothing cancelled, nothing done twice. {scheduler.Said}"

        Expect.equal
            (scheduler.Errors.Count(fun line -> line.Contains "gone all at once"))
            1
            $"one line. {scheduler.Said}"
    }

/// The folder of inputs stands elsewhere, and an empty one in its place.
let private takeAway (place: Workplace) =
    Directory.Move(place.At "entrada", place.At "away")
    Directory.CreateDirectory(place.At "entrada") |> ignore

let private putBack (place: Workplace) () : Task<unit> =
    task {
        Directory.Delete(place.At "entrada")
        Directory.Move(place.At "away", place.At "entrada")
    }

let private awayAndBack = [
    scenario "a folder that is replaced by an empty one is doubted, and nothing is cancelled"
    <| fun () ->
        task {
            use place = new Workplace()

            do!
                withQueue place (fun scheduler port ->
                    task {
                        takeAway place
                        do! survives place scheduler port (putBack place)
                    })
        }

    scenario "another file system that is mounted over the folder for a while cancels nothing"
    <| fun () ->
        task {
            use place = new Workplace()

            do!
                withQueue place (fun scheduler port ->
                    task {
                        let entrada = place.At "entrada"
                        do! mount place [ "-t"; "tmpfs"; "tmpfs"; entrada ]

                        try
                            do! survives place scheduler port (fun () -> unmount place entrada)
                        finally
                            if
                                (DriveInfo entrada).DriveFormat = "tmpfs"
                                && Directory.GetFiles(entrada).Length = 0
                            then
                                unmountNow entrada
                    })
        }

    scenario "a scheduler that starts while the folder is away cancels nothing of its queue"
    <| fun () ->
        task {
            use place = new Workplace()

            do!
                withQueue place (fun scheduler _ ->
                    task {
                        scheduler.Signal Signal.Kill
                        let! _ = scheduler.Exit
                        ()
                    })

            takeAway place

            let! struct (scheduler, port) = startScheduler place pipelines
            use scheduler = scheduler
            use _ = startWorker place port [ "--stages"; "lower" ]
            do! survives place scheduler port (putBack place)
        }

    scenario "what is really deleted is cancelled at once, all of it too"
    <| fun () ->
        task {
            use place = new Workplace()

            do!
                withQueue place (fun scheduler port ->
                    task {
                        for name in [ "first"; "a"; "b"; "c" ] do
                            File.Delete(place.At $"entrada/{name}.txt")

                        let mutable cancelled = 0L

                        while cancelled < 3L do
                            let! now = statusOf place port "cancelled"
                            cancelled <- now

                        Expect.equal
                            (scheduler.Errors.Count(fun line -> line.Contains "gone all at once"))
                            0
                            scheduler.Said
                    })
        }
]

[<Tests>]
let tests = testList "awkward folders" awayAndBack
