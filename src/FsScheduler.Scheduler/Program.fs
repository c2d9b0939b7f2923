module FsScheduler.Scheduler.Program

[<EntryPoint>]
let main _ = 0
