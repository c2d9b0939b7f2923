/// One pipeline over workers in four languages, each of which is killed in the middle.
module FsScheduler.System.Tests.FlowTests

open System
open System.IO
open System.Text
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

let private line name number =
    $"FICHEIRO {name} Linha {number}: ÁGUA\n"

let private content name lines =
    String.concat "" [ for number in 1..lines -> line name number ]

/// Of `lower | initials | number-lines | exec:cat`.
let private expected (content: string) =
    content.ToLowerInvariant().Split('\n', StringSplitOptions.RemoveEmptyEntries)
    |> Array.mapi (fun index line ->
        let initials =
            line.Split ' '
            |> Array.map (fun word -> string (Seq.head (word.EnumerateRunes())))
            |> String.concat ""

        $"{index + 1}: {initials}\n")
    |> String.concat ""

[<Tests>]
let tests =
    testList "four stages" [
        scenario
            "over workers in F#, C#, Python and a program come out right, though one of each is killed"
        <| fun () ->
            task {
                if OperatingSystem.IsWindows() then
                    skiptest "there is no cat"

                use place = new Workplace()
                let! command = CSharpTests.workerCommand ()

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--settle"
                        "0ms"
                        "--pipeline"
                        "lower | initials | number-lines | exec:cat"
                        "--expect"
                        "initials,number-lines,exec:cat"
                        "--split"
                        "1MiB"
                        "--lost-after"
                        "2s"
                    ]

                use scheduler = scheduler
                let address = $"127.0.0.1:{port}"

                let python = Path.Combine(Repository.root, "examples", "python-worker", "worker.py")

                let start () = [|
                    startWorker place port [ "--stages"; "lower" ]
                    new Program(command.Head, command.Tail @ [ address ], place.Path)
                    new Program("python3", [ python; address ], place.Path)
                    startWorker place port [ "--stages"; "trim"; "--allow-exec"; "cat" ]
                |]

                let names = [
                    yield! [
                        for number in 1..300 -> $"d{number % 5}/f{number}.txt", 1 + number % 7
                    ]
                    "grande.txt", 150_000
                ]

                for name, lines in names do
                    place.Put(name, content name lines)

                let first = start ()
                let second = start ()
                let results () = place.Results.Length
                do! eventually "some results" (fun () -> results () > 30)

                for worker in first do
                    worker.Signal Signal.Kill
                    let! _ = worker.Exit
                    (worker :> IDisposable).Dispose()
                    let before = results ()
                    do! eventually "more results" (fun () -> results () > min 300 (before + 10))

                // By name: a temporary file of the large one would count as its result.
                do!
                    eventuallyOf scheduler patience "all results" (fun () ->
                        names |> List.forall (fun (name, _) -> place.HasResult $"{name}.out"))

                for name, lines in names do
                    Expect.equal
                        (place.Result $"{name}.out")
                        (expected (content name lines))
                        $"{name}.out"

                for worker in second do
                    (worker :> IDisposable).Dispose()
            }
    ]
