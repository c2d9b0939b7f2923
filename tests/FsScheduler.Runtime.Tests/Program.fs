module FsScheduler.Runtime.Tests.Program

open Expecto

[<EntryPoint>]
let main args =
    runTestsWithCLIArgs
        []
        args
        (testList "runtime" [
            StageTests.tests
            FileTests.tests
            HostTests.tests
            ConnectionTests.tests
        ])
