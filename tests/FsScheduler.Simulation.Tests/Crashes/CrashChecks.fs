namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Server
open FsScheduler.Simulation.Tests

/// What must be so, whatever has happened.
module CrashChecks =

    /// What the device had to keep.
    let afterCut
        (settings: CrashSettings)
        (disk: SimDisk)
        (history: History)
        (outside: SimEnvironment)
        =
        let ended = Dictionary<TaskId, int64>()

        for recorded in history.All do
            match recorded.event with
            | Event.Completed(attempt, _) -> ended[attempt.task] <- recorded.number
            | _ -> ()

        let published = Seq.toArray outside.Published

        for KeyValue(what, result) in published do
            let submission = history.Submission result.task

            let isWhole =
                match disk.Find("out/" + result.place) with
                | null -> false
                | file -> file.Content = result.content

            match ended.TryGetValue result.task with
            | true, number ->
                let isNewest =
                    published
                    |> Array.forall (fun (KeyValue(_, other)) ->
                        other.task <= result.task || other.place <> result.place)

                let isFlushed =
                    settings.sync = Sync.Full
                    || settings.deletes
                    || submission.Origin <> Origin.Folder
                    || number <= history.FlushedUpTo

                must
                    (isWhole || not isFlushed || not isNewest)
                    $"the result of {submission.Name} was flushed, and is not there"

                if not isWhole then
                    outside.Published.Remove what |> ignore
            | _ -> outside.Published.Remove what |> ignore

    /// Everything has come to its end, once.
    let atTheEnd (disk: SimDisk) (history: History) (outside: SimEnvironment) (life: CrashLife) =
        let scheduler = life.Scheduler
        let ended = Dictionary<TaskId, Event>()
        let submitted = Dictionary<string, TaskId>()

        for recorded in history.All do
            match recorded.event with
            | Event.Completed({ task = task }, _)
            | Event.Cancelled(task, _) ->
                must (ended.TryAdd(task, recorded.event)) $"task {task} has ended twice"
            | Event.Submitted(id, submission, _) ->
                match submission.Payload with
                | Payload.Input stamp ->
                    submitted[Content.ofFile submission.Name stamp.modified] <- id
                | _ -> ()
            | _ -> ()

        let quarantined = HashSet [ for task in TaskView.all scheduler -> task.id ]

        let resultIs name (content: string) =
            match disk.Find("out/" + name) with
            | null -> raise (Violation $"{name} has no result")
            | file ->
                must
                    (CrashStages.give CrashStages.ofFiles content file.Content)
                    $"the result of {name} is '{file.Content}'"

        for KeyValue(name, version) in outside.Files do
            let content = Content.ofFile name version
            must (submitted.ContainsKey content) $"{content} was never a task"
            let task = submitted[content]

            match ended.TryGetValue task with
            | true, Event.Completed _ -> resultIs name content
            | true, other -> raise (Violation $"{content} ended with %A{other}")
            | _ -> must (quarantined.Contains task) $"{content} has come to no end"

        for job in outside.Jobs do
            if job.Task > 0L<taskId> && not (job.IsForgotten || job.IsTakenAway) then
                match ended.TryGetValue job.Task with
                | true, Event.Completed _ when job.Want = File ->
                    match disk.Find("out/" + life.PlaceOf(job.Task, job.Name)) with
                    | null -> raise (Violation $"{job.Name} has no result")
                    | file ->
                        must
                            (CrashStages.give
                                (CrashStages.ofPipeline job.Pipeline)
                                job.Content
                                file.Content)
                            $"the result of {job.Name} is '{file.Content}'"
                | true, _ -> ()
                | _ -> must (quarantined.Contains job.Task) $"{job.Name} has come to no end"

        let needed = HashSet scheduler.Spools

        for path in disk.Below "spool/" do
            must (needed.Contains path) $"{path} is left behind"

        for path in disk.Below "out/.tmp" do
            raise (Violation $"{path} is left behind")
