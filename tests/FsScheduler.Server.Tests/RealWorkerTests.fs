/// A scheduler and real workers in this process.
module FsScheduler.Server.Tests.RealWorkerTests

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open Expecto
open FsScheduler.Core
open FsScheduler.Execution
open FsScheduler.Execution.Tests.RunningWorker
open FsScheduler.Server.Tests.Cluster
open FsScheduler.TestKit

let private together =
    testList "with a real scheduler" [
        testTask "files of entrada become files of resultados" {
            use cluster =
                new Cluster(fun options -> {
                    options with
                        settings = {
                            options.settings with
                                pipeline =
                                    match Pipeline.parse (HashSet [ "own" ]) "own | lower" with
                                    | Ok pipeline -> pipeline
                                    | Error error -> failwith error.message
                        }
                })

            let own = {
                options cluster.Address with
                    functions = [ "own", StageFunction.ofText (fun text -> text + "?") ]
            }

            use _ = new Running(own)

            for index in 1..20 do
                cluster.Put($"f{index}", $"Á{index}")

            cluster.Put("large", String('X', 3_000_000))

            do!
                eventually "all are there" (fun () ->
                    Directory.GetFiles(cluster.Folder.At "resultados", "*.out").Length = 21)

            for index in 1..20 do
                let result = IO.File.ReadAllText(cluster.Folder.At $"resultados/f{index}.out")
                Expect.equal result $"á{index}?" "its own"

            let large = IO.File.ReadAllText(cluster.Folder.At "resultados/large.out")
            Expect.equal large.Length 3_000_001 "whole"
        }

        testTask "many small tasks, none lost, none twice" {
            use cluster = new Cluster(id)
            use _ = new Running(options cluster.Address)
            use _ = new Running(options cluster.Address)
            use! (client: Peer) = cluster.ClientAsync()
            let count = 2_000

            let submits =
                String.concat "" [
                    for index in 1..count ->
                        $"""{{"type":"SUBMIT","ref":"{index}","name":"n","pipeline":"lower","bytes":2}}"""
                        + "\nAB"
                ]

            do! client.Write(utf8 submits)
            let accepted = HashSet<string>()
            let finished = HashSet<string>()

            while finished.Count < count do
                let! (answer: JsonElement) = client.ReadJson()
                let ref = text answer "ref"

                match text answer "type" with
                | "ACCEPTED" -> Expect.isTrue (accepted.Add ref) "once"
                | "DONE" ->
                    Expect.isTrue (accepted.Contains ref) "accepted before"
                    Expect.isTrue (finished.Add ref) "once"
                    let! (bytes: byte[]) = client.ReadBytes 2
                    Expect.equal bytes "ab"B "its result"
                | other -> failtest other
        }
    ]

[<Tests>]
let tests = testSequencedGroup "workers" (testList "worker" [ together ])
