module FsScheduler.Core.Tests.PipelineTests

open Expecto

let tests = testList "PipelineTests" []
