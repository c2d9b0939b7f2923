module FsScheduler.System.Tests.Program

open Expecto

[<EntryPoint>]
let main args =
    runTestsWithCLIArgs [] args (testList "system" [ RepositoryTests.tests; SystemTests.tests ])
