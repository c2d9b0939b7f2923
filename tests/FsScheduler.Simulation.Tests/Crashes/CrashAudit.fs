namespace FsScheduler.Simulation.Tests.Crashes

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol
open FsScheduler.Server
open FsScheduler.Simulation.Tests
open FsScheduler.TestKit

/// <summary>Looks at all that one life of a scheduler decides, and raises a violation at the first thing that may not
/// be.</summary>
/// <param name="settings">Of this life.</param>
/// <param name="world">Where it lives.</param>
/// <param name="files">The payloads that it has on the disk.</param>
/// <param name="scheduler">As it was restored.</param>
/// <param name="isCompared">Whether what it knows at the start is held against everything that was ever recorded.</param>
[<Sealed>]
type CrashAudit
    (settings: Settings, world: CrashWorld, files: ISpool, scheduler: Scheduler, isCompared: bool) =
    let history, outside, coverage = world.history, world.outside, world.coverage
    let isSameBoot = world.state.IsSameBoot
    let mutable checkedAt = -1L

    let note (kind: string) (case: obj) =
        coverage.Count $"{kind}: {TraceFormat.caseOf case}"
        world.trace.Add(world.clock.Now, kind, 0L, case)

    let pieces = CrashPieces()

    let isThere event =
        match event with
        | Event.Part(_, _, Held(Spooled(path, _)))
        | Event.Carried(Carried.Part(_, _, Held(Spooled(path, _)))) -> isSameBoot && files.Has path
        | _ -> true

    let countPart event =
        match event with
        | Event.Part(whole, _, Held(Spooled _))
        | Event.Carried(Carried.Part(whole, _, Held(Spooled _))) when (history.EndOf whole).IsNone ->
            if isThere event then "seen: part kept"
            elif isSameBoot then "seen: part gone"
            else "seen: part dropped"
            |> coverage.Count
        | _ -> ()

    let compare () =
        let whole = Scheduler settings

        whole.Restore(
            seq {
                for recorded in history.All do
                    struct (recorded.number, recorded.at, recorded.event)
            },
            world.clock.Now
        )

        RestoreChecks.asIfWhole whole scheduler

    do
        for recorded in history.All do
            countPart recorded.event

            // Of the tasks that are done too, which may not be done again.
            pieces.Take(recorded.event, false)

        RestoreChecks.beside history scheduler

        if isCompared then
            compare ()

    /// Its key may be forgotten: it ended before the time after which all are kept, and nobody waits for its result.
    let mayForget (cutoff: Cutoff) (job: Job) =
        match history.EndOf job.Task with
        | _ when cutoff.isTooMuch -> true
        | ValueSome(struct (at, isDone)) ->
            at - cutoff.keptSince < 0L<ms>
            && (job.Want <> Result || not isDone || job.HasResult)
        | ValueNone -> false

    /// An event is durable.
    member _.Decided(event: Event) =
        note "event" event
        pieces.Take(event, true)

        match event with
        | Event.Carried carried -> coverage.Count $"carried: {carried.GetType().Name}"
        | Event.Submitted(id, submission, _) ->
            match submission.Origin with
            | Origin.Piece(whole, _) ->
                must
                    (submission.Name = (history.Submission whole).Name)
                    $"the piece that is task {id} is called '{submission.Name}'"
            | Origin.Folder
            | Origin.Client _ -> ()
        | _ -> ()

    /// A result gets its name, which is the one of its task or one with its number.
    member _.Published (place: TaskName) (content: string) =
        let goesTo (task: TaskView) =
            ResultName.candidates (OfTask task.id) (Texts.name task.name)
            |> Seq.truncate 4
            |> Seq.contains place

        let publishing =
            TaskView.all scheduler
            |> Array.filter (fun task -> task.state = "publishing" && goesTo task)

        match publishing with
        | [| task |] ->
            let attempt = { task = task.id; number = task.attempt }

            must
                (history.IsAccepted attempt)
                $"the result of {attempt} gets its name before it is durable"

            let submission = history.Submission task.id
            must (not submission.Origin.IsPiece) $"{attempt} is a piece, and is published"

            let what =
                match submission.Payload with
                | Payload.Input stamp -> Content.ofFile submission.Name stamp.modified
                | _ -> $"task {task.id}"

            must
                (outside.Published.TryAdd(
                    what,
                    { task = task.id; place = string place; content = content }
                ))
                $"{what} is published twice"
        | other -> raise (Violation $"{place} is published, and the machine has %A{other}")

    /// An effect leaves the machine.
    member _.Released(effect: Effect) =
        note "effect" effect

        match effect with
        | Effect.ToDisk(DiskEffect.ConfirmPublished _) ->
            coverage.Count "seen: result found after a crash"
        | _ -> ()

    /// The machine is sent an input.
    member _.Posted(input: Input) =
        note "input" input
        SimHost.checkMissing scheduler input

        match input with
        | Input.Retain cutoff ->
            for job in outside.Jobs do
                if job.Key.IsSome && job.Task > 0L<taskId> && mayForget cutoff job then
                    job.IsForgotten <- true
        | _ -> ()

    /// The machine has answered a question.
    member _.Looked(seen: objnull) =
        match seen with
        | :? ResultTarget as destination when destination = ResultTarget.Nowhere ->
            coverage.Count "seen: result for nobody"
        | _ -> ()

    /// The whole state, where something happened since it was checked last.
    member _.CheckMachine() =
        if scheduler.LastEvent <> checkedAt then
            checkedAt <- scheduler.LastEvent

            match Invariants.violations scheduler with
            | [] -> ()
            | all -> raise (Violation(String.concat "; " all))
