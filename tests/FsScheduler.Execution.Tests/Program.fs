module FsScheduler.Execution.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "execution" args
