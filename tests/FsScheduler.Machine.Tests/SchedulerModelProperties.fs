/// The machine decides what its plain model does, step by step.
module FsScheduler.Machine.Tests.SchedulerModelProperties

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit.SchedulerActions
open FsScheduler.TestKit.SchedulerHistory
open FsScheduler.Machine.Tests.SchedulerRun
open FsScheduler.Machine.Tests.SchedulerSplitProperties

/// Tasks whose results were found in their places at a restart.
let private foundIn (step: Step) : Set<TaskId> =
    set [
        for effect in step.effects do
            match effect with
            | Effect.ToDisk(DiskEffect.ConfirmPublished(attempt, _, _)) -> attempt.task
            | _ -> ()
    ]

/// The events are the same, in order, and so are the effects, in any; and where the tasks are afterwards.
let private agree (settings: Settings) (history: Action list) =
    let mutable model = SchedulerModelState.initial settings
    let mutable seen = 0

    let follow (run: Run) (step: Step) =
        let before = model.lastEvent

        model <-
            match step.input with
            | Some input -> SchedulerModel.step model input step.at step.events
            | None ->
                let recorded =
                    run.Recorded |> List.filter (fun (struct (number, _, _)) -> number <= before)

                SchedulerModelJournal.restart step.at (foundIn step) recorded step.events model

        let happened = step.events |> List.choose SchedulerModelText.ofEvent
        let asked = step.effects |> List.map SchedulerModelText.ofEffect |> List.sort

        // What it was is only put in words where it is needed: that takes long.
        if happened <> List.rev model.happened then
            Expect.equal happened (List.rev model.happened) $"events of {step.input}"

        if asked <> List.sort model.asked then
            Expect.equal asked (List.sort model.asked) $"effects of {step.input}"

    let check (run: Run) =
        while seen < run.Steps.Count do
            follow run run.Steps[seen]
            seen <- seen + 1

        Expect.equal (TaskView.all run.Scheduler) (SchedulerModel.view model) "tasks"

    followOn (Run(settings, worldOf settings)) check history |> ignore

[<Tests>]
let tests =
    testList "the scheduler.the machine and its plain model agree" [
        property "where nothing is split" (agree settings)

        property
            "where what waits is left to the journal"
            (agree { settings with memory = 100L<B> })

        splitProperty "where payloads are worked on in pieces" (agree inHistories)

        splitProperty
            "where they are, and what waits is left to the journal"
            (agree { inHistories with memory = 100L<B> })
    ]
