module FsScheduler.Folders.Tests.Program

open FsScheduler.TestKit

[<EntryPoint>]
let main args = TestProgram.run "folders" args
