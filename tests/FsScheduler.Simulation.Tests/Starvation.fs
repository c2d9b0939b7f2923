namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine

/// More urgent work than the workers can do, for ever, beside some that nobody hurries.
module Starvation =

    let private settings pipeline stages = {
        Settings.defaults pipeline with
            expected = stages
            taskTimeout = 60_000L<ms>
            lostAfter = 3_600_000L<ms>
            seed = 1UL
    }

    let private urgentAtOnce = 10
    let private urgent = 1
    let private unhurried = 0
    let private lasts = 600_000L<ms>

    /// <summary>How long a task of low priority waits at most in ten minutes of virtual time.</summary>
    /// <param name="workers">The one stage that each worker can run.</param>
    /// <param name="takes">How long the next task takes.</param>
    let longestWait (workers: string[]) (takes: unit -> Duration) : Duration =
        let stages = Array.distinct workers
        let timeline = Timeline()
        let decisions = StepOutput()
        let waiting = Dictionary<TaskId, Instant>()
        let stageOf = Dictionary<TaskId, string>()
        let mutable longest = 0L<ms>

        let pipeline =
            match Pipeline.parse (HashSet stages) stages[0] with
            | Ok pipeline -> pipeline
            | Error error -> invalidOp error.message

        let name =
            match TaskName.parse "work" with
            | Ok name -> name
            | Error error -> invalidOp error

        let scheduler = Scheduler(settings pipeline stages)

        let submission priority =
            Submission.Create(
                name,
                "",
                priority,
                Origin.Client(99L<sessionId>, Nothing, None),
                Packed
            )

        let rec step input =
            decisions.Clear()
            scheduler.Step(input, timeline.Now, decisions)
            let events = decisions.Events.ToArray()

            for event in events do
                match event with
                | Event.Submitted(id, submission, pipeline) ->
                    stageOf[id] <- pipeline.stages[0].name

                    if submission.Priority = unhurried then
                        waiting[id] <- timeline.Now
                | Event.Assigned(attempt, session, _) ->
                    match waiting.TryGetValue attempt.task with
                    | true, since ->
                        longest <- max longest (timeline.Now - since)
                        waiting.Remove attempt.task |> ignore
                    | _ -> ()

                    timeline.After(takes (), fun () -> finish session attempt)
                | _ -> ()

        and finish session attempt =
            // Another urgent one first, so that the queue is never without.
            step (Input.Submit(submission urgent, stageOf[attempt.task]))
            step (Input.Report(session, attempt, Succeeded, Content.empty))

        workers
        |> Array.iteri (fun index stage ->
            let session = 1L<sessionId> * int64 (index + 1)
            step (Input.Join(session, stage, [| stage |]))
            step (Input.Ready(session, 1)))

        for stage in stages do
            for _ in 1..urgentAtOnce do
                step (Input.Submit(submission urgent, stage))

        timeline.Every(
            20_000L<ms>,
            fun () ->
                for stage in stages do
                    step (Input.Submit(submission unhurried, stage))

                true
        )

        while timeline.Now.sinceStart < lasts && timeline.Step() do
            ()

        for since in waiting.Values do
            longest <- max longest (timeline.Now - since)

        longest
