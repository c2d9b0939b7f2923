module FsScheduler.System.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "system" args
