module FsScheduler.Server.Tests.SchedulerAgentTests

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

/// The first thing that every mailbox records.
let private isOpening (events: IReadOnlyList<Event>) = events[0].IsOpened

/// A journal whose transactions are durable when the test says so; but for the first, that it is open.
type private SlowJournal() =
    let appends = Collector<int>()
    let waiting = List<TaskCompletionSource>()

    /// How many events each transaction has.
    member _.Appends = appends
    member _.Commit index = waiting[index].SetResult()
    member _.Fail(index, error: exn) = waiting[index].SetException error

    interface IJournal with
        member _.AppendAsync(_, _, events) =
            if isOpening events then
                ValueTask.CompletedTask
            else
                let source = TaskCompletionSource()
                waiting.Add source
                appends.Add events.Count
                ValueTask source.Task

        member _.ReadSubmission _ =
            invalidOp "nothing is left to the journal"

        member _.ReadPayload _ =
            invalidOp "nothing is left to the journal"

        member _.DropAsync _ = invalidOp "nothing is dropped"
        member _.Size(_, _) = invalidOp "nothing is dropped"

    interface IAsyncDisposable with
        member _.DisposeAsync() = ValueTask.CompletedTask

let private session = 1L<sessionId>

let private submit ref =
    let origin = Origin.Client(session, Want.Nothing, None)
    Input.Submit(Submission.Create(name "a.txt", ref, 0, origin, Content.empty), "")

let private refOf effect =
    match effect with
    | Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Accepted(ref, _))) -> ref
    | Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Status _)) -> "status"
    | other -> $"{other}"

/// Once it has recorded that it is open.
let private opened journal (release: Release) =
    let agent = SchedulerAgent(Scheduler settings, journal, release, Clock(HandTime()))
    (ended (agent.QueryAsync ignore)).Wait()
    agent

let private start (journal: IJournal) =
    let released = Collector<string>()

    let release (effects: List<Effect>) =
        for effect in effects do
            released.Add(refOf effect)

    released, opened journal (Release release)

/// Lets nothing out.
let private refusing (error: exn) =
    Release(fun effects ->
        if effects.Count > 0 then
            raise error)

let private post (agent: SchedulerAgent) input : Task =
    ended (agent.PostAsync([| input |], CancellationToken.None))

let private count (expected: int) (items: 'T list) = items.Length >= expected

/// Submits, and waits until the journal has been given that many transactions.
let private submitted (journal: SlowJournal) agent ref transactions =
    task {
        do! post agent (submit ref)
        let! _ = journal.Appends.Until(count transactions)
        ()
    }

let private failsWith (error: exn) (work: Task) =
    task {
        let mutable thrown: exn | null = null

        try
            do! ended work
        with caught ->
            thrown <- caught

        Expect.equal thrown error "fails with what ended the mailbox"
    }

/// More than the mailbox would ever let in.
let private nobodyHangs (agent: SchedulerAgent) error =
    task {
        for _ in 1..600 do
            do! failsWith error (agent.PostAsync([| submit "late" |], CancellationToken.None))

        do! failsWith error (agent.QueryAsync _.Status)
    }

let private durability =
    testList "durable before visible" [
        testTask "nothing is let out before its events are durable" {
            let journal = SlowJournal()
            let released, agent = start journal
            do! submitted journal agent "a" 1
            Expect.isEmpty released.Items "not durable"
            journal.Commit 0
            let! released = released.Until(count 1)
            Expect.equal released [ "a" ] "durable"
        }

        testTask "turns overlap, and what they decided comes out in order" {
            let journal = SlowJournal()
            let released, agent = start journal

            for index, ref in [ 1, "a"; 2, "b"; 3, "c" ] do
                do! submitted journal agent ref index

            journal.Commit 2
            journal.Commit 1
            Expect.isEmpty released.Items "the first one is not durable"
            journal.Commit 0
            let! released = released.Until(count 3)
            Expect.equal released [ "a"; "b"; "c" ] "in order"
        }

        testTask "what needs no event waits for the events before it" {
            let journal = SlowJournal()
            let released, agent = start journal
            do! submitted journal agent "a" 1
            do! post agent (Input.Ask session)
            // Elsewhere: inside the look it would still be the same turn.
            let looked = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
            let _ = agent.QueryAsync(fun _ -> looked.SetResult())
            do! ended looked.Task
            do! submitted journal agent "b" 2
            Expect.isEmpty released.Items "the answer would tell of a"
            journal.Commit 0
            journal.Commit 1
            let! released = released.Until(count 3)
            Expect.equal released [ "a"; "status"; "b" ] "in order"
        }

        testTask "a note that has to be durable is waited for" {
            let journal = SlowJournal()
            let _, agent = start journal
            let note = Note.Owner(name "a.txt", ValueNone)
            let noted = Mailbox.noteDurably agent note CancellationToken.None
            let! _ = journal.Appends.Until(count 1)
            do! submitted journal agent "b" 2
            Expect.isFalse noted.IsCompleted "not durable"
            journal.Commit 0
            journal.Commit 1
            do! ended noted
        }

        testTask "a look is answered when what it saw is durable" {
            let journal = SlowJournal()
            let _, agent = start journal
            do! submitted journal agent "a" 1
            let look = agent.QueryAsync _.Status.queued
            do! submitted journal agent "b" 2
            Expect.isFalse look.IsCompleted "a is not durable"
            journal.Commit 0
            journal.Commit 1
            let! queued = within look
            Expect.isGreaterThanOrEqual queued 1L "it saw a"
        }
    ]

let private bounds =
    testList "bounds" [
        testTask "16 turns are not durable at once, 256 posts wait, and more wait outside" {
            let journal = SlowJournal()
            let released, agent = start journal

            // The last of these is decided, and waits for one of the others to become durable.
            for index in 1..17 do
                do! submitted journal agent $"{index}" index

            for index in 18 .. 17 + 256 do
                let posting = agent.PostAsync([| submit $"{index}" |], CancellationToken.None)
                Expect.isTrue posting.IsCompletedSuccessfully "there is room"

            let tooMany = agent.PostAsync([| submit "274" |], CancellationToken.None)
            Expect.isFalse tooMany.IsCompleted "no room"
            Expect.equal journal.Appends.Items.Length 17 "no further turn"

            for index in 0..16 do
                journal.Commit index

            let! (appends: int list) = journal.Appends.Until(count 18)
            Expect.isGreaterThanOrEqual appends[17] 256 "one transaction for all that had arrived"
            do! ended tooMany

            // Whatever was split off comes in a transaction of its own.
            if appends[17] = 256 then
                let! _ = journal.Appends.Until(count 19)
                journal.Commit 18

            journal.Commit 17
            let! released = released.Until(count 274)
            Expect.equal released [ for index in 1..274 -> $"{index}" ] "in order, none lost"
        }
    ]

let private death =
    testList "death" [
        testTask "a journal that fails ends it, and nothing comes out any more" {
            let journal = SlowJournal()
            let released, agent = start journal
            do! submitted journal agent "a" 1
            do! submitted journal agent "b" 2
            let error = IO.IOException "disk full"
            journal.Fail(0, error)
            journal.Commit 1
            do! failsWith error agent.Completion
            do! nobodyHangs agent error
            Expect.isEmpty released.Items "neither a, nor b, which is durable and comes after it"
        }

        testTask "a journal that throws ends it" {
            let error = IO.IOException "gone"

            let journal = {
                new IJournal with
                    member _.AppendAsync(_, _, events) =
                        if isOpening events then
                            ValueTask.CompletedTask
                        else
                            raise error

                    member _.ReadSubmission _ = raise error
                    member _.ReadPayload _ = raise error
                    member _.DropAsync _ = raise error
                    member _.Size(_, _) = raise error
                interface IAsyncDisposable with
                    member _.DisposeAsync() = ValueTask.CompletedTask
            }

            let released, agent = start journal
            do! post agent (submit "a")
            do! failsWith error agent.Completion
            do! nobodyHangs agent error
            Expect.isEmpty released.Items "nothing"
        }

        testTask "an effect that cannot be let out ends it" {
            let error = InvalidOperationException "release"
            let agent = opened (MemoryJournal 10) (refusing error)
            do! post agent (submit "a")
            do! failsWith error agent.Completion
            do! nobodyHangs agent error
        }

        testTask "an effect that cannot be let out later ends it too" {
            let journal = SlowJournal()
            let error = InvalidOperationException "release"
            let agent = opened journal (refusing error)
            do! submitted journal agent "a" 1
            journal.Commit 0
            do! failsWith error agent.Completion
            do! nobodyHangs agent error
        }

        testTask "those who wait for room find out" {
            let journal = SlowJournal()
            let _, agent = start journal

            for index in 1..17 do
                do! submitted journal agent $"{index}" index

            let waiting = [
                for _ in 1..300 -> agent.PostAsync([| submit "x" |], CancellationToken.None)
            ]

            let look = agent.QueryAsync _.Status
            let error = IO.IOException "disk full"
            journal.Fail(0, error)

            for posting in List.skip 256 waiting do
                do! failsWith error posting

            do! failsWith error look
        }
    ]

let private memory =
    testList "the journal in memory" [
        test "keeps the last events, and counts all" {
            let journal = MemoryJournal 3

            let append (tasks: int64 list) =
                let events =
                    List<Event>(tasks |> Seq.map (fun id -> Event.Retried(id * 1L<taskId>)))

                Expect.isTrue
                    ((journal :> IJournal).AppendAsync(Instant.zero, 1L, events))
                        .IsCompletedSuccessfully
                    "at once"

            append [ 1L; 2L ]
            append [ 3L; 4L; 5L; 6L; 7L ]
            append [ 8L ]

            let recent = [
                for struct (_, event) in journal.Recent do
                    match event with
                    | Event.Retried id -> int64 id
                    | other -> failwith $"{other}"
            ]

            Expect.equal recent [ 6L; 7L; 8L ] "the last three"
            Expect.equal journal.Count 8L "all"
        }
    ]

let private mailbox (post: Input[] -> Task) = {
    new IMailbox with
        member _.PostAsync(inputs, _) = post inputs
        member _.QueryAsync(_, _) = invalidOp "nobody looks"
}

let private telling =
    testList "what cannot wait" [
        testTask "is told, all of it, one batch at a time" {
            let batches = Collector<int>()
            let gate = TaskCompletionSource()

            let post (inputs: Input[]) =
                batches.Add inputs.Length
                gate.Task

            let tellings = InputRelay(mailbox post)
            let stop = new CancellationTokenSource()
            let running = tellings.RunAsync stop.Token
            tellings.Tell Input.Tick
            let! (_: int list) = batches.Until(fun all -> all = [ 1 ])

            for _ in 1..3 do
                tellings.Tell Input.Tick

            gate.SetResult()
            let! all = batches.Until(fun all -> List.sum all = 4)
            Expect.equal all [ 1; 3 ] "the others wait for the first"
            stop.Cancel()
            do! ended running
        }

        testTask "fails as the mailbox does" {
            let error = IO.IOException "gone"
            let tellings = InputRelay(mailbox (fun _ -> Task.FromException error))
            tellings.Tell Input.Tick
            do! failsWith error (tellings.RunAsync CancellationToken.None)
        }
    ]

[<Tests>]
let tests = testList "agent" [ durability; bounds; death; memory; telling ]
