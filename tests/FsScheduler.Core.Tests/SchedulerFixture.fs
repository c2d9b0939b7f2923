/// What all tests of the scheduler share: how to build its inputs, and a stepper that checks the
/// whole state after every one of them.
module FsScheduler.Core.Tests.SchedulerFixture

open Expecto
open FsScheduler.Core

let pipeline names = {
    stages = [|
        for name in names do
            { name = name; argument = ""; kind = PerLine }
    |]
    wire = Array.ofSeq names
}

/// Stages `a` to `d` are known; a SUBMIT without a pipeline runs `a`.
let settings = {
    pipeline = pipeline [ "a" ]
    expected = [| "a"; "b"; "c"; "d" |]
    maxAttempts = 3
    taskTimeout = 60_000L<ms>
    lostAfter = 5_000L<ms>
    seed = 42UL
}

let instant (after: Duration) = { sinceStart = after }
let session (number: int) : SessionId = int64 number * 1L<sessionId>
let taskId (number: int) : TaskId = int64 number * 1L<taskId>
let attempt task number = { task = taskId task; number = number }

let taskName text =
    match TaskName.parse text with
    | Ok name -> name
    | Error reason -> failwith reason

/// The client of the examples.
let client = session 9

let bytes (text: string) =
    Bytes(System.Text.Encoding.UTF8.GetBytes text)

let spooled path = Spooled(path, 1_000L<B>)

/// A SUBMIT of the client, with `ref` as its name too.
let submission ref priority want key payload =
    Submission.Create(taskName ref, ref, priority, Origin.Client(client, want, key), payload)

let file name version =
    let stamp = { size = 1L<B>; modified = int64<int> version }
    Submission.Create(taskName name, "", 0, Folder, Input stamp)

/// A scheduler and its clock. Every step leaves a state without violations.
type Machine(settings: Settings) =
    let scheduler = Scheduler settings
    let mutable now = Instant.zero

    member _.Scheduler = scheduler
    member _.Now = now

    /// Events and effects of one input.
    member _.Take(input: Input) : Event list * Effect list =
        let decisions = Decisions()
        scheduler.Step(input, now, decisions)
        Expect.isEmpty (Invariants.violations scheduler) $"after {input}"
        List.ofSeq decisions.Events, List.ofSeq decisions.Effects

    member machine.Do(input: Input) = machine.Take input |> ignore

    /// Lets time pass without a tick.
    member _.Wait(span: Duration) = now <- now + span

    /// Lets time pass with ticks so close that nobody is thought asleep, and workers that are heard.
    member machine.Pass(span: Duration, heard: SessionId list) =
        let until = now + span

        [
            while now - until < 0L<ms> do
                now <- now + min 1_000L<ms> (until - now)

                for worker in heard do
                    machine.Do(Input.Heard worker)

                machine.Take Input.Tick
        ]
        |> List.unzip
        |> fun (events, effects) -> List.concat events, List.concat effects

    /// Workers that run these stages on this many slots.
    member machine.Worker(number: int, stages: string list, slots: int) =
        machine.Do(Input.Join(session number, $"w{number}", Array.ofList stages))
        machine.Take(Input.Ready(session number, slots))

    /// Submits `a`, `b`… as named by the client, with a result wanted.
    member machine.Submit(ref: string) =
        machine.Take(Input.Submit(submission ref 0 Result None (bytes ref), ""))

    /// What the tasks are doing, by id.
    member _.States = [
        for task in Invariants.view scheduler do
            int64 task.id, task.state
    ]

/// The attempts that were given out, with their workers.
let assignments (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.Assign(worker, message, _, _) ->
            Some(int64 worker, int64 message.attempt.task, message.attempt.number)
        | _ -> None)
