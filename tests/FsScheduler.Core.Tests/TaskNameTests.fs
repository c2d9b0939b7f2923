module FsScheduler.Core.Tests.TaskNameTests

open Expecto

let tests = testList "TaskNameTests" []
