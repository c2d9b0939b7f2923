module FsScheduler.Protocol.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "protocol" args
