module FsScheduler.Machine.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "machine" args
