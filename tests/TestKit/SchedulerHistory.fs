/// What actions come to: the inputs, and what can be seen from outside of what the scheduler makes of them.
module FsScheduler.TestKit.SchedulerHistory

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit.SchedulerActions

/// A worker as the outside sees it.
type SeenWorker = { stages: Set<string>; mutable slots: int; held: HashSet<Attempt> }

/// What can be known from the inputs and the outputs alone, and nothing else.
/// `names` are those of the stages that are `a`, `b`, `c` and `d` in the actions.
type World(names: string[]) =
    let mutable now = Instant.zero
    let mutable sessions = 0
    let mutable refs = 0
    let mutable spools = 0
    let mutable results = 0

    let named (pipeline: string) =
        String.collect
            (fun letter ->
                if letter >= 'a' && letter <= 'd' then
                    names[int letter - int 'a']
                else
                    string letter)
            pipeline

    let choose (items: 'item seq) pick =
        let items = Array.ofSeq items

        if items.Length = 0 then
            None
        else
            Some items[abs pick % items.Length]

    member val Workers = SortedDictionary<SessionId, SeenWorker>()

    /// Every attempt that was ever given out, in order.
    member val Past = ResizeArray<struct (SessionId * Attempt)>()
    /// How many events there were.
    member val Events = 0L with get, set
    member val Publishing = ResizeArray<Attempt>()
    /// Payloads that are to be cut, with their sizes, and parts that are to be joined.
    member val Cutting = ResizeArray<struct (Attempt * Size)>()
    member val Joining = ResizeArray<Attempt>()
    member val Tasks = 0 with get, set
    member _.Now = now

    new() = World [| "a"; "b"; "c"; "d" |]

    /// A path that nobody had.
    member _.Spool() =
        spools <- spools + 1
        Spooled($"spool{spools}", 10L<B>)

    /// What a worker gives: one of three is so small that it is in memory. All have ten bytes.
    member world.Result() =
        results <- results + 1

        if results % 3 = 0 then
            bytes ($"spool{results}".PadRight 10)
        else
            world.Spool()

    /// A version of a file that nobody had. Where payloads are split, every other one is.
    member _.File name =
        refs <- refs + 1
        let size = if names[1] <> "b" && refs % 2 = 0 then 10L<B> else 1L<B>
        let stamp = FileVersion.ofTime size (int64 refs)
        Submission.Create(taskName $"f{abs name % 3}", "", 0, Folder, Payload.Input stamp)

    member world.Outstanding = [
        for KeyValue(worker, seen) in world.Workers do
            for attempt in Seq.sort seen.held do
                worker, attempt
    ]

    member world.Submit(priority, pipeline: int, want, key) =
        refs <- refs + 1

        let want =
            match abs want % 3 with
            | 0 -> Result
            | 1 -> File
            | _ -> Nothing

        // Of twelve submissions, eight have no key, and one has a key with other content.
        let key =
            match abs key % 12 with
            | 0 -> Some { text = "k0"; content = "x" }
            | 1 -> Some { text = "k0"; content = "y" }
            | 2 -> Some { text = "k1"; content = "x" }
            | 3 -> Some { text = $"k-{refs}"; content = "x" }
            | _ -> None

        let payload = if refs % 2 = 0 then world.Spool() else bytes "small"
        let origin = Origin.Client(client, want, key)

        let submission =
            Submission.Create(taskName $"t{refs}", $"r{refs}", priority, origin, payload)

        Input.Submit(submission, named pipelines[abs pipeline % pipelines.Length])

    /// A new worker; bit i of `stages` says whether it can run stage i.
    member _.Join stages =
        sessions <- sessions + 1

        let stages = [|
            for bit, stage in Seq.indexed names do
                if (stages >>> bit) &&& 1 = 1 then
                    stage
        |]

        // Some share a name, so that a worker may be the one that was there before.
        Input.Join(session (100 + sessions), $"w{sessions % 2}", stages)

    member world.Wait(span: Duration) = now <- now + span

    /// The inputs that an action comes to, now.
    member world.Resolve(action: Action) : Input list =
        let worker pick = choose world.Workers.Keys pick

        let task pick =
            taskId (1 + abs pick % max 1 world.Tasks)

        let running pick = choose world.Outstanding pick

        let report attempt worker outcome =
            let payload =
                match outcome with
                | Succeeded -> world.Result()
                | Failed _
                | Unable _ -> Content.empty

            Input.Report(worker, attempt, outcome, payload)

        match action with
        | Submit(priority, pipeline, want, key) -> [ world.Submit(priority, pipeline, want, key) ]
        | SubmitFile name when name % 3 = 0 ->
            let others = pipelines |> Array.filter ((<>) "")

            match Pipeline.parseRecorded (named others[abs name % others.Length]) with
            | Ok pipeline -> [ Input.SubmitFile(world.File name, pipeline) ]
            | Error error -> invalidOp error.message
        | SubmitFile name -> [ Input.Submit(world.File name, "") ]
        | Join stages -> [ world.Join stages ]
        | Ready(pick, slots) -> [
            for w in Option.toList (worker pick) -> Input.Ready(w, abs slots)
          ]
        | Leave pick -> [ for w in Option.toList (worker pick) -> Input.Leave w ]
        | HeardAll -> [ for w in List.ofSeq world.Workers.Keys -> Input.Heard w ]
        | Succeed pick -> [ for w, a in Option.toList (running pick) -> report a w Succeeded ]
        | Fail(pick, retry) -> [
            for w, a in Option.toList (running pick) -> report a w (Failed("it failed", retry))
          ]
        | Refuse pick -> [
            for w, a in Option.toList (running pick) -> report a w (Unable "no room here")
          ]
        | Break(pick, isUnable) -> [
            for w in Option.toList (worker pick) do
                for a in Seq.sort world.Workers[w].held do
                    let outcome =
                        if isUnable then
                            Unable "no room here"
                        else
                            Failed("it failed", true)

                    report a w outcome
          ]
        | Late pick -> [
            for struct (w, a) in Option.toList (choose world.Past pick) -> report a w Succeeded
          ]
        | Foreign(pick, other) -> [
            for _, a in Option.toList (running pick) do
                for w in Option.toList (worker other) -> report a w Succeeded
          ]
        | Publish pick -> [
            for a in Option.toList (choose world.Publishing pick) -> Input.Published(a, hash)
          ]
        | Unpublish pick -> [
            for a in Option.toList (choose world.Publishing pick) ->
                Input.Unpublished(a, "disk full")
          ]
        | Unread pick -> [
            for _, a in Option.toList (running pick) ->
                if pick % 2 = 0 then
                    Input.Unreadable(a, "no such file")
                else
                    Input.OutOfSight(a, "not mounted")
          ]
        | Cancel pick -> [ Input.Cancel(task pick, client) ]
        | Retry pick -> [ Input.Retry(task pick, client) ]
        | Withdraw pick -> [ for _, a in Option.toList (running pick) -> Input.FileChanged a ]
        | Outdate pick -> [
            for a in Option.toList (choose world.Publishing pick) -> Input.Outdated a
          ]
        | Vanish name -> [ Input.FileDeleted $"f{abs name % 3}" ]
        | Unstore pick -> [
            for w, a in Option.toList (running pick) -> Input.Unstored(w, a, "no space")
          ]
        | Cut(pick, how) -> [
            for struct (a, size) in Option.toList (choose world.Cutting pick) ->
                match how with
                | 0 -> Input.Unreadable(a, "cannot be cut")
                | 1 -> Input.Cut(a, [| size |])
                | 2 -> Input.FileChanged a
                | _ -> Input.Cut(a, [| 4L<B>; 8L<B>; size |])
          ]
        | JoinParts(pick, isThere) -> [
            for a in Option.toList (choose world.Joining pick) ->
                if isThere then
                    Input.PartsMerged(a, world.Spool())
                else
                    Input.MergeFailed(a, "a part is gone")
          ]
        | RetryAll -> [ Input.RetryAll client ]
        | Drain pick -> [ for w in Option.toList (worker pick) -> Input.Drain(string w, client) ]
        | Retain(share, most, isFlushed, isTooMuch) -> [
            if isFlushed then
                Input.Note [| Note.Flushed world.Events |]

            let cutoff: Cutoff = {
                before = 1L + world.Events * int64 (abs share % 101) / 100L
                keptSince = now + -3_000L<ms>
                isTooMuch = isTooMuch
                most = 1 + abs most % 6
            }

            // Not always as often as is needed.
            for _ in 0 .. abs share % 5 do
                Input.Retain cutoff
          ]
        | Restart -> []
        | Claim(stages, picks) ->
            let join = world.Join stages

            match join with
            | Input.Join(session, _, _) -> [
                join
                Input.Claim(
                    session,
                    [|
                        for pick in picks do
                            match choose world.Past pick with
                            | Some(struct (_, attempt)) -> attempt
                            | None -> ()
                    |]
                )
              ]
            | _ -> []
        | Tick span ->
            world.Wait(1L<ms> * int64 spans[abs span % spans.Length])
            [ Input.Tick ]

    /// The scheduler was killed: nobody is connected any more, and nothing is being published.
    member world.Forget() =
        world.Publishing.Clear()
        world.Cutting.Clear()
        world.Joining.Clear()
        world.Workers.Clear()

    /// Follows what an input and its outputs did. Fails where an assignment breaks a promise.
    member world.Observe(input: Input, events: Event seq, effects: Effect seq) =
        let free (attempt: Attempt) =
            for seen in world.Workers.Values do
                seen.held.Remove attempt |> ignore

        match input with
        | Input.Join(session, _, stages) ->
            world.Workers[session] <- { stages = set stages; slots = 0; held = HashSet() }
        | Input.Ready(session, slots) -> world.Workers[session].slots <- slots
        | Input.Report(session, attempt, _, _) ->
            if world.Workers.ContainsKey session then
                world.Workers[session].held.Remove attempt |> ignore
        | Input.Unreadable(attempt, _)
        | Input.OutOfSight(attempt, _)
        | Input.FileChanged attempt
        | Input.Cut(attempt, _) ->
            world.Cutting.RemoveAll(fun (struct (other, _)) -> other = attempt) |> ignore
            free attempt
        | Input.PartsMerged(attempt, _)
        | Input.MergeFailed(attempt, _) -> world.Joining.Remove attempt |> ignore
        | Input.Unstored(session, attempt, _) ->
            if world.Workers.ContainsKey session then
                world.Workers[session].held.Remove attempt |> ignore
        | Input.Published(attempt, _)
        | Input.Outdated attempt
        | Input.Unpublished(attempt, _) -> world.Publishing.Remove attempt |> ignore
        | _ -> ()

        for event in events do
            world.Events <- world.Events + 1L

            match event with
            | Event.Submitted _ -> world.Tasks <- world.Tasks + 1
            | Event.Left(session, _, _) -> world.Workers.Remove session |> ignore
            | Event.Claimed(attempt, session) ->
                free attempt
                world.Workers[session].held.Add attempt |> ignore
            | _ -> ()

        for effect in effects do
            match effect with
            | Effect.ToPeer(PeerEffect.Revoke(_, attempt)) -> free attempt
            | Effect.ToPeer(PeerEffect.Dismiss session) -> world.Workers[session].slots <- 0
            | Effect.ToDisk(DiskEffect.Publish(attempt, _, _))
            | Effect.ToDisk(DiskEffect.PublishOlder(attempt, _, _)) -> world.Publishing.Add attempt
            | Effect.ToPieces(PieceEffect.Cut(attempt, _, payload, _)) ->
                match payload with
                | Kept(Held(Spooled _))
                | Payload.Input _ -> world.Cutting.Add(struct (attempt, Payload.size payload))
                | _ -> failwith "only what is a file is cut"
            | Effect.ToPieces(PieceEffect.MergeParts(attempt, _, _)) -> world.Joining.Add attempt
            | Effect.ToPeer(PeerEffect.Assign(session, message, _, _)) ->
                let seen = world.Workers[session]

                if seen.held.Count >= seen.slots then
                    failwith $"worker {session} got a task for which it has no slot"

                if not (Seq.forall seen.stages.Contains message.stages) then
                    failwith $"worker {session} cannot run all of %A{message.stages}"

                if world.Past |> Seq.exists (fun struct (_, past) -> past = message.attempt) then
                    failwith $"%A{message.attempt} was given out twice"

                seen.held.Add message.attempt |> ignore
                world.Past.Add(struct (session, message.attempt))
            | _ -> ()

/// Of ten bytes, which is what a spool has, all are split.
let inHistories = {
    settings with
        pipeline = pipeline [ "lower" ]
        taskTimeout = 4_000L<ms>
        spoolBytes = 25L<B>
        split = 4L<B>
        speculate = 1.5
}

/// Where nothing is split, stages are as everywhere; else some can be run on pieces.
let worldOf (settings: Settings) =
    if settings.split = Settings.unlimited then
        World()
    else
        World [| "a"; "lower"; "sort"; "d" |]
