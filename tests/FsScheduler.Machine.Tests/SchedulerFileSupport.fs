/// Versions of the file `f`, and what becomes of them.
module FsScheduler.Machine.Tests.SchedulerFileSupport

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let first, second, third = file "f" 1, file "f" 2, file "f" 3
let submit submission = Input.Submit(submission, "")

let stamp version =
    Input(FileVersion.ofTime 1L<B> (int64<int> version))

let woken task = Event.Woken(taskId task)

let superseded task =
    Event.Cancelled(taskId task, "superseded by a newer version of the file")

let gone task =
    Event.Cancelled(taskId task, "the file is gone")

let submitted task submission =
    Event.Submitted(taskId task, submission, settings.pipeline)

/// Version 1 of a file is being published.
let publishing () =
    let machine = idle 2
    machine.Do(submit first)
    machine.Succeed(1, attempt 1 1) |> ignore
    machine
