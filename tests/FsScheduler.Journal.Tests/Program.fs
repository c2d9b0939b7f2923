module FsScheduler.Journal.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args =
    match args with
    | [| "--bench"; folder |] ->
        Bench.run folder 1_000_000
        0
    | _ -> TestProgram.run "journal" args
