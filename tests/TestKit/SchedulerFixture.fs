/// What all tests of the scheduler share: how to build its inputs, and a stepper that checks the
/// whole state after every one of them.
module FsScheduler.TestKit.SchedulerFixture

open System
open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.Machine

let pipeline names = {
    stages = [|
        for name in names do
            { name = name; argument = ""; kind = PerLine; demand = name }
    |]
    wire = Array.ofSeq names
}

/// Stages `a` to `d` are known; a SUBMIT without a pipeline runs `a`.
let settings = {
    Settings.defaults (pipeline [ "a" ]) with
        expected = [| "a"; "b"; "c"; "d" |]
        taskTimeout = 60_000L<ms>
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

let bytes (text: string) = Bytes(Text.Encoding.UTF8.GetBytes text)

let spooled path = Spooled(path, 1_000L<B>)

/// Content as the payload of a task.
let kept content = Kept(Held content)

/// Parts of a result in memory.
let textParts (texts: string list) = texts |> List.map (bytes >> Held)

/// A SUBMIT of the client, with `ref` as its name too.
let submission ref priority want key (content: Content) =
    Submission.Create(taskName ref, ref, priority, Origin.Client(client, want, key), content)

let file name version =
    let stamp = FileVersion.ofTime 1L<B> (int64<int> version)
    Submission.Create(taskName name, "", 0, Folder, Input stamp)

/// The events of an earlier run as a journal has them, from number 1 on.
let numbered (history: Event seq) =
    history
    |> Seq.mapi (fun index event -> struct (int64 index + 1L, Instant.zero, event))

/// A scheduler and its clock. Every step leaves a state without violations.
type Machine(settings: Settings, tasksMax: int) =
    let scheduler = Scheduler(settings, tasksMax)
    let mutable now = Instant.zero

    let take (what: obj) (step: StepOutput -> unit) =
        let output = StepOutput()
        step output

        match Invariants.violations scheduler with
        | [] -> ()
        | violations -> failtest $"after {what}: %A{violations}"

        List.ofSeq output.Events, List.ofSeq output.Effects

    new(settings) = Machine(settings, SchedulerLimits.tasksMax)

    member _.Scheduler = scheduler
    member _.Now = now

    /// Events and effects of one input.
    member _.Take(input: Input) : Event list * Effect list =
        take input (fun output -> scheduler.Step(input, now, output))

    member machine.Do(input: Input) = machine.Take input |> ignore

    /// The effects of several inputs at one time.
    member machine.Effects(inputs: Input list) =
        inputs |> List.collect (machine.Take >> snd)

    /// Goes on after the events of an earlier run.
    member _.Restart(history: Event seq) =
        take "a restart" (fun output ->
            scheduler.Restore(numbered history, now)
            scheduler.Resume(Guid.Empty, Dictionary(), [||], now, output))

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

    /// A submission of the client, result wanted; its own bytes are its ref.
    member machine.Submit(ref: string, ?priority: int, ?pipeline: string) =
        let submission = submission ref (defaultArg priority 0) Result None (bytes ref)
        machine.Take(Input.Submit(submission, defaultArg pipeline ""))

    member machine.SubmitAll(refs: string list) =
        for ref in refs do
            machine.Submit ref |> ignore

    member machine.Report(worker: int, of': Attempt, outcome: Outcome, result: Content) =
        machine.Take(Input.Report(session worker, of', outcome, result))

    /// A worker succeeds with an attempt; the result is the text "done".
    member machine.Succeed(worker: int, of': Attempt) =
        machine.Report(worker, of', Succeeded, bytes "done")

    member machine.Fail(worker: int, of': Attempt) =
        machine.Report(worker, of', Failed("it failed", true), Content.empty)

    /// A failure that is not to be tried again.
    member machine.FailForGood(worker: int, of': Attempt) =
        machine.Report(worker, of', Failed("no", false), Content.empty)

    /// The worker has this task in its hands, then its connection ends.
    member machine.Lose(worker: int) =
        machine.Take(Input.Leave(session worker))

    /// What is carried of all events so far.
    member machine.Carry() = [
        let cutoff = {
            before = scheduler.LastEvent + 1L
            keptSince = Instant.zero
            isTooMuch = false
            most = 10
        }

        for event in fst (machine.Take(Input.Retain cutoff)) do
            match event with
            | Event.Carried carried -> carried
            | _ -> ()
    ]

    /// The attempts that a worker holds, by task.
    member _.Held(worker: int) : Attempt list = [
        for task in TaskView.all scheduler do
            if task.worker = ValueSome(session worker) then
                { task = task.id; number = task.attempt }
    ]

    /// Where a task is, and why.
    member _.Explain(task: int) =
        TaskLocation.ofTask (taskId task) now scheduler

    /// What the tasks are doing, by id.
    member _.States = [
        for task in TaskView.all scheduler do
            int64 task.id, task.state
    ]

    member machine.Phases = machine.States |> List.map snd

/// The attempts that were given out, with their workers.
let assignments (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.ToPeer(PeerEffect.Assign(worker, message, _, _)) ->
            Some(int64 worker, int64 message.attempt.task, message.attempt.number)
        | _ -> None)

/// The same of all that came out of an input.
let givenOut (_: Event list, effects: Effect list) = assignments effects

/// The workers that were held back, each with the stages.
let heldBack (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.ToLog(LogEffect.HeldBack(worker, stages, _)) -> Some(worker, List.ofArray stages)
        | _ -> None)

let assigned task number worker first last =
    Event.Assigned(attempt task number, session worker, struct (first, last))

let assign (submission: Submission) task number worker stages payload =
    let message = {
        attempt = attempt task number
        name = submission.Name
        stages = Array.ofList stages
        timeout = settings.taskTimeout
        piece = ValueNone
        files = ValueNone
    }

    Effect.ToPeer(PeerEffect.Assign(session worker, message, submission, payload))

let hash = { size = 4L<B>; hash = 7UL }

/// The result of an attempt has its name.
let published task number =
    Input.Published(attempt task number, hash)

let stored task number =
    Event.Completed(attempt task number, StoredResult hash)

/// It went to its client.
let completed task number =
    Event.Completed(attempt task number, NothingKept)

let reply message =
    Effect.ToPeer(PeerEffect.Reply(client, message))

let private doneAs outcome ref task attempts error =
    FromScheduler.Done {
        ref = ref
        task = taskId task
        attempts = attempts
        outcome = outcome
        error = error
    }

let doneFor ref task attempts =
    doneAs TaskOutcome.Completed ref task attempts None

let quarantinedFor ref task attempts error =
    doneAs TaskOutcome.Quarantined ref task attempts (Some error)

let cancelledFor ref task attempts =
    doneAs TaskOutcome.Cancelled ref task attempts (Some "cancelled")

/// The answer of a task that is given a number of attempts and the result "done".
let doneWell ref task attempts =
    Effect.ToPeer(PeerEffect.ReplyResult(client, doneFor ref task attempts, bytes "done"))

/// Exactly these, and nothing else came out.
let expect (events: Event list, effects: Effect list) eventsExpected effectsExpected =
    Expect.equal events eventsExpected "events"
    Expect.equal effects effectsExpected "effects"

let nothing: Event list * Effect list = [], []

/// Workers 1, 2… with so many slots of `a` each, and tasks `x1`, `x2`…
let started (settings: Settings) workers slots tasks =
    let machine = Machine settings

    for number in 1..workers do
        machine.Worker(number, [ "a" ], slots) |> ignore

    machine.SubmitAll [ for i in 1..tasks -> $"x{i}" ]
    machine

/// One worker with some slots of `a`, and tasks `x1`, `x2`… in its hands.
let running slots tasks = started settings 1 slots tasks

/// One idle worker with some slots of `a`.
let idle slots = running slots 0

/// What is recorded of an attempt at stage `a`.
let failure number worker error at = {
    attempt = number
    cause = TaskError
    stages = "a"
    worker = worker
    error = error
    at = instant at
}
