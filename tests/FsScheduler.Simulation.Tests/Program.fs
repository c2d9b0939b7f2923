module FsScheduler.Simulation.Tests.Program

open Expecto

[<EntryPoint>]
let main args =
    runTestsWithCLIArgs [] args (testList "simulation" [ SimulationTests.tests ])
