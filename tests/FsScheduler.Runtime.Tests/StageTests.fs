module FsScheduler.Runtime.Tests.StageTests

open Expecto

let tests = testList "StageTests" []
