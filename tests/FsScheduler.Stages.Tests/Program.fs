module FsScheduler.Stages.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "stages" args
