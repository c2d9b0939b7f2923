namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol

/// How a run went.
type Run = {
    seed: uint64
    climate: FaultProfile
    /// What was violated; nothing, if all is well.
    failure: string option
    trace: Trace
    coverage: Coverage
    tasks: int
    ended: Instant
}

module Simulation =

    /// In virtual time, after the last fault. Nothing takes nearly as long.
    let private patience = 2L * 3_600_000L<ms>

    /// How long all has to stay quiet.
    let private grace = 20_000L<ms>

    let private checkTasks (world: World) =
        for task in world.Observer.Tasks do
            must
                (task.Ending.IsSome || task.IsQuarantined)
                $"task {task.Id} ({task.Submission.Name}) has come to no end"

        let left = TaskView.all world.Scheduler |> Array.map _.id |> Set.ofArray

        let quarantined =
            world.Observer.Tasks
            |> Seq.filter (fun task -> task.Ending.IsNone)
            |> Seq.map _.Id
            |> Set.ofSeq

        must (left = quarantined) $"the machine has {left} and {quarantined} are in quarantine"

    /// What was made of the last version of each file is what stands in the results.
    let private checkFiles (world: World) =
        let latest = Dictionary<string, TaskRecord>()

        for task in world.Observer.Tasks do
            if task.Submission.Origin = Origin.Folder then
                latest[task.Submission.Name] <- task

        for KeyValue(name, version) in world.Folder.Files do
            match latest.TryGetValue name with
            | true, task ->
                must
                    (task.Origin = Content.ofFile name version)
                    $"version {version} of {name} was never a task"

                match task.Ending with
                | ValueSome Ending.Completed ->
                    must
                        (world.Results.Of name = ValueSome task.Result)
                        $"{name} has '{world.Results.Of name}' as its result, not '{task.Result}'"
                | ValueSome Ending.Cancelled ->
                    must
                        (world.Observer.Cancels.Contains task.Id)
                        $"version {version} of {name} was dropped, and nobody asked for that"
                | ValueNone -> ()
            | _ -> raise (Violation $"{name} was never a task")

    /// The result of a client's name is that of a task that had it: of two, where the key of the first was
    /// forgotten before it was sent again.
    let private checkWanted (world: World) =
        let results = Dictionary<string, string list>()

        for task in world.Observer.Tasks do
            match task.Submission.Origin, task.Ending with
            | Origin.Client(_, File, _), ValueSome Ending.Completed ->
                let name = task.Submission.Name
                results[name] <- task.Result :: results.GetValueOrDefault(name, [])
            | _ -> ()

        for KeyValue(name, completed) in results do
            match world.Results.Of name with
            | ValueSome content when List.contains content completed -> ()
            | published -> raise (Violation $"{name} is completed and its result is {published}")

    /// Every temporary file is somebody's, or gone.
    let private checkSpool (world: World) =
        let owned = HashSet<string>()

        for task in world.Observer.Tasks do
            let isKept =
                match task.Submission.Origin, task.Ending with
                | Origin.Client(_, _, Some _), ValueSome Ending.Completed -> true
                | _, ValueNone -> true
                | _ -> false

            match Payload.file task.Payload with
            | ValueSome path when isKept -> owned.Add path |> ignore
            | _ -> ()

            // In quarantine, with what is there of its result.
            match task.Pieces, task.Ending with
            | ValueSome pieces, ValueNone ->
                for part in pieces.Parts do
                    match part with
                    | ValueSome(Kept(Held(Spooled(path, _)))) -> owned.Add path |> ignore
                    | _ -> ()
            | _ -> ()

        for path in world.Spool.Paths do
            must (owned.Contains path) $"{path} is left behind"

    let private play (scene: SimulationContext) =
        let world = World scene
        world.Start()
        scene.timeline.At(scene.climate.faultsFor, (fun () -> scene.faulty <- false))
        let until = scene.climate.faultsFor + patience
        let mutable settledAt = ValueNone
        let mutable isOver = false

        while not isOver do
            if not (scene.timeline.Step()) then
                raise (Violation "nothing is left to happen")

            world.Check()

            if not scene.faulty && world.IsSettled then
                match settledAt with
                | ValueNone -> settledAt <- ValueSome scene.Now
                | ValueSome since -> isOver <- scene.Now - since > grace
            else
                settledAt <- ValueNone

            if scene.Now.sinceStart > until then
                let left =
                    TaskView.all world.Scheduler
                    |> Array.filter (fun task -> task.state <> "quarantined")
                    |> Array.map (fun task -> $"task {task.id} is {task.state}")

                let unanswered = world.Clients |> Seq.collect _.Unanswered |> String.concat ", "

                let left = left |> Array.truncate 5 |> String.concat ", "
                raise (Violation $"not done in time: {left}; unanswered: {unanswered}")

        checkTasks world
        checkFiles world
        checkWanted world
        checkSpool world
        Seq.length world.Observer.Tasks

    /// Lines of a failing run that are worth reading.
    let private linesMax = 40

    /// A run that keeps so many of its last lines.
    let runKeeping (linesMax: int) (seed: uint64) : Run =
        let chance = Chance seed

        let scene = {
            climate = FaultProfile.draw chance
            chance = chance
            timeline = Timeline()
            trace = Trace linesMax
            coverage = Coverage()
            faulty = true
        }

        let mutable tasks = 0

        let failure =
            try
                tasks <- play scene
                None
            with
            | Violation text -> Some text
            | error -> Some(string error)

        {
            seed = seed
            climate = scene.climate
            failure = failure
            trace = scene.trace
            coverage = scene.coverage
            tasks = tasks
            ended = scene.Now
        }

    /// One world, from its first moment to its last. The same seed gives the same run.
    let run (seed: uint64) : Run = runKeeping linesMax seed

    /// What to read of a run that failed.
    let report (run: Run) =
        String.concat "\n" [
            $"seed {run.seed} failed at {run.ended.sinceStart} ms: {Option.get run.failure}"
            $"%A{run.climate}"
            yield! run.trace.Lines
            $"seed {run.seed} failed: {Option.get run.failure}"
            $"again: dotnet run --project tests/FsScheduler.Simulation.Tests -- --seed {run.seed}"
        ]
