module FsScheduler.Server.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "server" args
