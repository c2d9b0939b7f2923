/// The executables as people run them: real processes on folders of their own.
module FsScheduler.TestKit.Farm

open System
open System.IO
open System.Threading.Tasks
open Expecto

// With processes these wait longer than in one.
let patience = processPatience
let awaited what (work: Task<'T>) = awaitedWithin patience what work
let eventually what holds = eventuallyWithin patience what holds

let private executable (project: string) (name: string) =
    let suffix = if OperatingSystem.IsWindows() then ".exe" else ""
    Path.Combine(Repository.root, "src", project, "bin", "Release", "net10.0", name + suffix)

let schedulerPath = executable "FsScheduler.Scheduler" "fs-scheduler"
let workerPath = executable "FsScheduler.Worker" "fs-worker"

/// `fs-scheduler` with these arguments, as they are.
let fsScheduler (folder: string) (args: string list) =
    new Program(schedulerPath, args, folder)

/// `fs-worker` with these arguments, as they are.
let fsWorker (folder: string) (args: string list) = new Program(workerPath, args, folder)

/// A scheduler of a workplace on a free port, once it listens, and that port.
let startScheduler (place: Workplace) (args: string list) =
    task {
        let listen =
            if List.contains "--listen" args then
                []
            else
                [ "--listen"; "127.0.0.1:0" ]

        let scheduler = fsScheduler place.Path (listen @ args)
        let first = scheduler.Output.First(fun _ -> true)
        let! _ = Task.WhenAny(first :> Task, scheduler.Exit)

        if not first.IsCompleted then
            failtest $"it does not listen. {scheduler.Said}"

        Expect.stringStarts first.Result "listening on " "the first line"
        let port = int (first.Result.Substring(first.Result.LastIndexOf ':' + 1))
        return struct (scheduler, port)
    }

let startWorker (place: Workplace) (port: int) (args: string list) =
    fsWorker place.Path ([ "--connect"; $"127.0.0.1:{port}" ] @ args)
