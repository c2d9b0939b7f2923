module FsScheduler.Journal.Tests.Program

open Expecto

[<EntryPoint>]
let main args =
    match args with
    | [| "--bench"; folder |] ->
        Bench.run folder 1_000_000
        0
    | _ ->
        runTestsWithCLIArgs
            []
            args
            (testList "journal" [
                StoreTests.tests
                CrashTests.tests
                DamageTests.tests
                LossTests.tests
                DiskTests.tests
                TaskIndexTests.tests
                ReadAheadTests.tests
            ])
