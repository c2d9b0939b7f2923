module FsScheduler.Core.Tests.DependencyTests

open Expecto

let tests = testList "DependencyTests" []
