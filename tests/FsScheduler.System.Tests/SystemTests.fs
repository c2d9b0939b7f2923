module FsScheduler.System.Tests.SystemTests

open Expecto

let tests = testList "system" []
