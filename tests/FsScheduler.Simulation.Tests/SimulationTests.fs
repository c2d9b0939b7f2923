module FsScheduler.Simulation.Tests.SimulationTests

open Expecto

let tests = testList "simulation" []
