/// The examples in C#, each a program in one file.
module FsScheduler.System.Tests.CSharpTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

/// Their path, once they are built. What they stand on is built already, and may be in use: it is left alone. No build
/// server stays behind, which would keep the outputs open.
let private build (source: string) : Lazy<Task<string>> =
    let dotnet (args: string list) =
        task {
            use program = new Program("dotnet", [ "build"; source ] @ args, Repository.root)

            let! code = program.ExitWithin(TimeSpan.FromMinutes 5.0)
            Expect.equal code 0 program.Said
            return program.Output.All
        }

    lazy
        (task {
            let! _ = dotnet [ "--disable-build-servers"; "-p:BuildProjectReferences=false" ]
            let! said = dotnet [ "--disable-build-servers"; "-getProperty:TargetPath" ]
            return List.last said
        })

let private workerProgram = build "examples/csharp-worker/worker.cs"
let private clientProgram = build "examples/csharp-client/client.cs"

/// How the worker is started; its only argument is `HOST:PORT`.
let workerCommand () =
    task {
        let! path = workerProgram.Value
        return [ "dotnet"; path ]
    }

let private startClient (place: Workplace) (args: string list) =
    task {
        let! path = clientProgram.Value
        return new Program("dotnet", path :: args, place.Path)
    }

[<Tests>]
let tests =
    testList "the examples in C#" [
        scenario "the client has its files done by the worker's stages"
        <| fun () ->
            task {
                use place = new Workplace()
                let! command = workerCommand ()

                let! struct (scheduler, port) =
                    startScheduler place [ "--expect"; "initials,longest" ]

                use _ = scheduler
                let address = $"127.0.0.1:{port}"
                use _ = new Program(command.Head, command.Tail @ [ address ], place.Path)
                let sources = Directory.CreateDirectory(place.At "textos").FullName

                let put (name: string) (bytes: byte[]) =
                    File.WriteAllBytes(Path.Combine(sources, name), bytes)

                put "nomes" (Text.Encoding.UTF8.GetBytes "João  da Água\r\n\nZé")
                put "vazio" [||]
                put "errado" [| 0xFFuy |]

                let run (pipeline: string) =
                    task {
                        use! client = startClient place [ sources; pipeline; address ]
                        let! code = client.Exit
                        Expect.equal code 1 client.Said
                        let ends = client.Output.All |> List.sort

                        Expect.equal
                            ends[0]
                            "errado: invalid UTF-8 at byte 0"
                            "the one that cannot be done"

                        Expect.equal ends.Length 3 client.Said

                        Expect.isFalse
                            (File.Exists(place.At "textos.out/errado"))
                            "it has no result"

                        return
                            File.ReadAllText(place.At "textos.out/nomes"),
                            File.ReadAllText(place.At "textos.out/vazio")
                    }

                let! initials = run "lower | initials"
                Expect.equal initials ("jdá\r\n\nz", "") "initials"
                let! longest = run "longest"
                Expect.equal longest ("João  da Água\n", "\n") "the longest line"
            }

        scenario "the client says what is wrong"
        <| fun () ->
            task {
                use place = new Workplace()
                use! alone = startClient place []
                let! code = alone.Exit
                Expect.equal code 2 alone.Said
                use! lost = startClient place [ place.Path; "lower"; "127.0.0.1:1" ]
                let! code = lost.Exit
                Expect.equal code 3 lost.Said
                let error = List.exactlyOne lost.Errors.All
                Expect.stringContains error "no scheduler at 127.0.0.1:1" "why"
            }
    ]
