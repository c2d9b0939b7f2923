module FsScheduler.Worker.Program

[<EntryPoint>]
let main _ = 0
