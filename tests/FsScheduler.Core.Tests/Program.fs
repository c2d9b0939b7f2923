module FsScheduler.Core.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "core" args
