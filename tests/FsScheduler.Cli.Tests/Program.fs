module FsScheduler.Cli.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "cli" args
