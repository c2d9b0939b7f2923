namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core

/// The process around the machine, as the real one is: takes what has arrived, decides, records, and
/// only then lets effects out, in order. The journal takes its time, in which the next batch may be decided.
[<Sealed>]
type Host(scene: Scene, observer: Observer, answers: Answers, scheduler: Scheduler) =
    let batchMax = 64
    let mailbox = Queue<Input>()
    let mutable isPlanned = false
    let mutable journalUntil = 0L<ms>
    let mutable journalWasUntil = 0L<ms> // without the last batch
    let mutable asleepUntil = 0L<ms>

    let nameOf (case: obj) =
        // A case without data is of the union's own type.
        match case.GetType().Name with
        | "Input" -> "Tick"
        | name -> name

    /// A number that tells cases apart, for the hash.
    let kindOf (case: obj) =
        nameOf case |> Seq.fold (fun sum letter -> sum * 31L + int64 letter) 7L

    let count (kind: string) (case: obj) =
        scene.coverage.Count $"{kind}: {nameOf case}"

    let look () =
        match Invariants.violations scheduler with
        | [] -> ()
        | all -> raise (Violation(String.concat "; " all))

    let step (decisions: Decisions) input =
        let firstEvent = decisions.Events.Count
        let firstEffect = decisions.Effects.Count

        match input with
        | Input.Tick
        | Input.Heard _ -> ()
        | _ -> scene.Note("input ", kindOf input, input)

        count "input" input
        observer.Before input
        scheduler.Step(input, scene.Now, decisions)

        let events =
            decisions.Events.GetRange(firstEvent, decisions.Events.Count - firstEvent)

        let effects =
            decisions.Effects.GetRange(firstEffect, decisions.Effects.Count - firstEffect)

        for event in events do
            scene.Note(" event", kindOf event, event)
            count "event" event

        observer.Decided(input, events, effects)

        for effect in effects do
            scene.Note("  effect", kindOf effect, effect)
            count "effect" effect
            answers.Decided effect

        match input with
        | Input.Heard _
        | Input.Tick when events.Count = 0 && effects.Count = 0 -> () // moves no task and no worker
        | _ -> look ()

    let release (decisions: Decisions) perform =
        for event in decisions.Events do
            answers.Durable event

        for effect in decisions.Effects do
            answers.Released effect
            perform effect

    member val Perform: Effect -> unit = ignore with get, set

    member private host.Turn() =
        let now = scene.Now.sinceStart

        if now < asleepUntil then
            scene.timeline.At(asleepUntil, host.Turn)
        else
            isPlanned <- false
            let decisions = Decisions()
            let mutable left = batchMax

            while left > 0 && mailbox.Count > 0 do
                left <- left - 1
                step decisions (mailbox.Dequeue())

            let takes = scene.chance.Time(0L<ms>, scene.climate.journalMax)

            if now < journalUntil then
                scene.coverage.Count "seen: batch decided while the journal writes"

            journalWasUntil <- journalUntil
            journalUntil <- max journalUntil now + takes
            scene.timeline.At(journalUntil, fun () -> release decisions host.Perform)

            if mailbox.Count > 0 then
                host.Plan()

    member private host.Plan() =
        if not isPlanned then
            isPlanned <- true
            let soon = scene.Now.sinceStart + scene.chance.Time(0L<ms>, 3L<ms>)

            // One batch is decided while another is written, and no more: they grow instead.
            let free =
                if scene.climate.journalOverlaps then
                    journalWasUntil
                else
                    journalUntil

            scene.timeline.At(max soon free, host.Turn)

    member host.Post(input: Input) =
        mailbox.Enqueue input
        host.Plan()

    /// Stopped for a while, as by a debugger or a laptop's lid.
    member _.SleepUntil moment = asleepUntil <- max asleepUntil moment

    /// Where the tasks are, for the report.
    member _.CountStates() =
        for task in TaskView.all scheduler do
            scene.coverage.Count $"state: {task.state}"
