module FsScheduler.Core.Tests.GateTests

open Expecto

let tests = testList "GateTests" []
