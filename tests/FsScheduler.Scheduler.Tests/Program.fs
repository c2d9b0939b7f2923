module FsScheduler.Scheduler.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "scheduler" args
