/// The scripts, as the README has people run them.
module FsScheduler.System.Tests.ScriptTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.TestProgram
open FsScheduler.TestKit.Farm

let private fsi (script: string) (args: string list) =
    new Program("dotnet", [ "fsi"; Path.Combine("scripts", script) ] @ args, Repository.root)

/// A script builds the whole solution first, where anything has changed since the last build, the commit among it.
let private buildPatience = TimeSpan.FromMinutes 8.0

/// One script after the other: two that start for the first time write one file of the cache of F# Interactive.
[<Tests>]
let tests =
    testSequencedGroup "scripts"
    <| testList "the scripts" [
        scenario "run-local.fsx does its job with a worker killed in the middle"
        <| fun () ->
            task {
                use script = fsi "run-local.fsx" [ "--files"; "200"; "--workers"; "2"; "--kill" ]
                let! code = script.ExitWithin buildPatience
                Expect.equal code 0 script.Said

                let! killed =
                    script.Output.First(fun line -> line.StartsWith "killed worker-1 after")
                    |> awaited "a kill"

                Expect.stringContains killed "of 200 files" "the kill"

                Expect.contains
                    script.Output.All
                    "200 of 200 results are there and right"
                    script.Said
            }

        scenario "run-local.fsx refuses what it does not know"
        <| fun () ->
            task {
                use script = fsi "run-local.fsx" [ "--fast" ]
                let! code = script.Exit
                Expect.equal code 2 script.Said
            }

        scenario "wordcount.fsx counts the words of a text in pieces"
        <| fun () ->
            task {
                use script = fsi "wordcount.fsx" [ "--size"; "40MiB"; "--workers"; "2" ]
                let! code = script.ExitWithin buildPatience
                Expect.equal code 0 script.Said
                Expect.contains script.Output.All "the counts are right" script.Said
            }

        scenario "worker.fsx brings its own stages"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "O SISTEMA É BOM\n")

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--once"
                        "--pipeline"
                        "lower | title:pt-BR | vowels"
                        "--expect"
                        "vowels,title"
                    ]

                use scheduler = scheduler
                use _ = fsi "worker.fsx" [ $"127.0.0.1:{port}" ]
                let! code = scheduler.Exit
                Expect.equal code 0 scheduler.Said
                Expect.equal (place.Result "a.txt.out") "a 1\ne 2\ni 1\no 2\nu 0\n" "the result"
            }
    ]

/// It wants the machine to itself: what it deals is dealt in seconds.
[<Tests>]
let chaos =
    scenarioAlone "chaos.fsx deals three rounds of blows, and nothing is lost"
    <| fun () ->
        task {
            use script = fsi "chaos.fsx" [ "--rounds"; "3" ]
            let! code = script.ExitWithin(TimeSpan.FromMinutes 10.0)
            Expect.equal code 0 script.Said

            for blow in [ "killed scheduler"; "stopped reading the log" ] do
                Expect.isTrue (script.Output.All |> List.exists _.Contains(blow)) script.Said
        }
