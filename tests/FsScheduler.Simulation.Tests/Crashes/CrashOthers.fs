namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Simulation.Tests

/// <summary>What workers, the client and the folder of inputs do, whatever becomes of the scheduler.</summary>
/// <param name="world">Has them, and picks what they do next.</param>
/// <param name="size">How much there is to do: 1 for a handful of tasks.</param>
/// <param name="life">The scheduler's process at this time.</param>
[<Sealed>]
type CrashOthers(world: CrashWorld, size: int, life: unit -> CrashLife) =
    let disk, outside = world.disk, world.outside
    let chance, coverage = world.chance, world.coverage
    let mutable isCalm = false

    /// A worker comes, or comes back.
    let connectWorker (worker: CrashWorker) =
        let session = outside.NewSession()
        worker.Session <- ValueSome session
        life().Post(Input.Join(session, worker.Name, worker.Stages))
        let holding = worker.Holding |> Seq.map _.attempt |> Seq.toArray

        if holding.Length > 0 then
            coverage.Count "seen: worker back with what it holds"

        life().Post(Input.Claim(session, holding))
        life().Post(Input.Ready(session, 2))

    let takeOne (holdings: List<Holding>) =
        let index = chance.Below holdings.Count
        let holding = holdings[index]
        holdings.RemoveAt index
        holding

    let finishOne (worker: CrashWorker) =
        match worker.Session with
        | ValueSome session when worker.IsWelcome && worker.Holding.Count > 0 ->
            let holding = takeOne worker.Holding

            // Some take long.
            if isCalm || int64 holding.attempt.task % 4L > 0L || chance.Percent 10 then
                life().Report(session, holding)
            else
                worker.Holding.Add holding
        | _ -> ()

    let actOfWorker () =
        let worker = outside.Workers[chance.Below outside.Workers.Count]

        match worker.Session with
        | ValueNone -> connectWorker worker
        | ValueSome session ->
            match chance.Below 100 with
            | roll when roll < 60 -> finishOne worker
            | roll when roll < 70 ->
                if worker.IsWelcome && worker.Holding.Count > 0 then
                    let outcome = Failed("no", chance.Percent 90)
                    let attempt = (takeOne worker.Holding).attempt
                    life().Post(Input.Report(session, attempt, outcome, Content.empty))
            | roll when roll < 78 ->
                if worker.Stale.Count > 0 then
                    coverage.Count "seen: late result"
                    life().Report(session, takeOne worker.Stale)
            | roll when roll < 82 ->
                life().Post(Input.Leave session)
                worker.Disconnect()
            | roll when roll < 84 ->
                life().Post(Input.Leave session)
                worker.Disconnect()
                worker.Holding.Clear()
            | _ -> life().Post(Input.Heard session)

    let connectClient () =
        if outside.Client.IsNone then
            outside.Client <- ValueSome(outside.NewSession())

    let submitWhere isWanted =
        match outside.Client with
        | ValueNone -> connectClient ()
        | ValueSome session ->
            match outside.Jobs |> Seq.tryFind (fun job -> not job.IsOver && isWanted job) with
            | Some job when not job.IsSent -> life().Submit(session, job)
            | _ -> ()

    let withClient (action: SessionId -> unit) = ValueOption.iter action outside.Client

    let actOfClient () =
        match chance.Below 100 with
        | roll when roll < 80 -> submitWhere (fun job -> not job.IsSent)
        | roll when roll < 88 -> withClient (fun session -> life().Post(Input.RetryAll session))
        | roll when roll < 92 ->
            withClient (fun session ->
                let job = outside.Jobs[chance.Below outside.Jobs.Count]

                if job.Task > 0L<taskId> then
                    life().Post(Input.Cancel(job.Task, session)))
        | roll when roll < 95 ->
            withClient (fun session ->
                life().Post(Input.Leave session)
                outside.DisconnectClient())
        | _ ->
            // Who has a key may ask again.
            match outside.Jobs |> Seq.tryFind (fun job -> job.IsOver && job.Key.IsSome) with
            | Some job ->
                coverage.Count "seen: asked again with a key"
                job.IsOver <- false
                job.IsSent <- false
            | None -> ()

    let actOfFolder () =
        let name = $"f{chance.Below(2 * size + 1)}"

        match outside.Files.TryGetValue name with
        | true, version when chance.Percent 70 -> outside.Files[name] <- version + 1L
        | true, _ ->
            outside.Files.Remove name |> ignore
            coverage.Count "fault: file vanished"
        | _ -> outside.Files[name] <- int64 (disk.Passed + 1) // never a version again

    /// Somebody takes a result away that a client has been told of.
    let takeAway () =
        match
            outside.Jobs
            |> Seq.tryFind (fun job -> job.Want = File && job.HasResult && not job.IsTakenAway)
        with
        | Some job ->
            job.IsTakenAway <- true
            let place = life().PlaceOf(job.Task, job.Name)

            for KeyValue(what, result) in Seq.toArray outside.Published do
                if result.place = place then
                    outside.Published.Remove what |> ignore

            disk.Delete("out/" + place)
        | None -> ()

    /// Whether no task takes long any more.
    member _.IsCalm
        with set value = isCalm <- value

    member _.ConnectWorker worker = connectWorker worker

    /// A worker ends one of the tasks that it holds, if it likes.
    member _.FinishOne worker = finishOne worker

    member _.ConnectClient() = connectClient ()

    /// One of them does something.
    member _.Act() =
        match chance.Below 100 with
        | roll when roll < 45 -> actOfWorker ()
        | roll when roll < 75 -> actOfClient ()
        | roll when roll < 85 -> actOfFolder ()
        | roll when roll < 98 -> life().Scan()
        | _ -> takeAway ()
