/// Random histories on a journal: restarts find the state that lived, whatever was dropped.
module FsScheduler.Server.Tests.JournalPropertyTests

open System
open System.Collections.Generic
open System.Text
open Expecto
open FsCheck
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit.SchedulerActions
open FsScheduler.TestKit.SchedulerHistory
open FsScheduler.Journal
open FsScheduler.Server
open FsScheduler.Journal.Tests.JournalSupport

/// A machine and its journal.
type private Life(settings: Settings, world: World) =
    let store = new MemoryStore()
    let mutable journal = journalOver store
    let mutable scheduler = Scheduler settings
    let submissions = Dictionary<TaskId, Submission>()

    let record first (decisions: StepOutput) =
        for event in decisions.Events do
            match event with
            | Event.Submitted(id, submission, _) -> submissions[id] <- submission
            | _ -> ()

        if decisions.Events.Count > 0 then
            (journal :> IJournal)
                .AppendAsync(world.Now, first, List<Event> decisions.Events)
                .AsTask()
                .Wait()

    let expectWhole (read: Submission) (whole: Submission) =
        Expect.equal (read.Name, read.Ref) (whole.Name, whole.Ref) "what the client said"
        Expect.equal (read.Packed.ToArray()) (whole.Packed.ToArray()) "what it sent"

    let expectResult result =
        match result with
        | Recorded(number, size) ->
            let read = (journal :> IJournal).ReadPayload number
            Expect.equal (int64 read.Length * 1L<B>) size "its size"
            Expect.stringStarts (Encoding.UTF8.GetString read) "spool" "what the worker sent"
        | Held _ -> ()

    member _.Scheduler = scheduler
    member _.Journal = journal

    member life.Take(input: Input) =
        let decisions = StepOutput()
        let first = scheduler.LastEvent + 1L
        scheduler.Step(input, world.Now, decisions)
        record first decisions
        world.Observe(input, decisions.Events, decisions.Effects)

        for effect in decisions.Effects do
            match effect with
            | Effect.ToJournal(JournalEffect.LoadSubmission(attempt, number)) ->
                let read = (journal :> IJournal).ReadSubmission number
                expectWhole read submissions[attempt.task]
                life.Take(Input.SubmissionLoaded(attempt, read))
            | Effect.ToJournal(JournalEffect.ReplyLoaded(_, outcome, number)) ->
                let read = (journal :> IJournal).ReadSubmission number
                expectWhole read submissions[outcome.task]
            | Effect.ToPeer(PeerEffect.Assign(_, _, _, Kept result))
            | Effect.ToPeer(PeerEffect.ReplyKept(_, _, result)) -> expectResult result
            | Effect.ToJournal(JournalEffect.Drop before) ->
                (journal :> IJournal).DropAsync(before).Wait()
            | _ -> ()

    /// The process ends, and another one begins with what the journal has.
    member _.Restart() =
        (close journal).Wait()
        journal <- journalOver store
        let restored = Scheduler settings
        restored.Restore(journal.Recover(), world.Now)

        // Of what is being cut nothing is recorded.
        if not (Description.isCutting scheduler) then
            Expect.equal
                (Description.ofState restored)
                (Description.ofState scheduler)
                "what lived is what the journal makes of nothing"

        scheduler <- restored
        let found = Dictionary<Attempt, ContentHash>()

        for attempt in world.Publishing do
            if int64 attempt.task % 2L = 0L then
                found[attempt] <- { size = 1L<B>; hash = 1UL }

        world.Forget()
        let decisions = StepOutput()
        let first = scheduler.LastEvent + 1L
        scheduler.Resume(journal.Owner, found, [||], world.Now, decisions)
        record first decisions
        world.Events <- world.Events + int64 decisions.Events.Count

        for effect in decisions.Effects do
            match effect with
            | Effect.ToDisk(DiskEffect.ConfirmPublished(attempt, _, _)) ->
                world.Publishing.Add attempt
            | Effect.ToPieces(PieceEffect.MergeParts(attempt, _, _)) -> world.Joining.Add attempt
            | _ -> ()

    member life.Follow(history: Action list) =
        for action in history do
            if action = Restart then
                life.Restart()
            else
                for input in world.Resolve action do
                    life.Take input

        life.Restart()
        (close journal).Wait()

let private config = {
    FsCheckConfig.defaultConfig with
        maxTest = 25
        arbitrary = [ typeof<Histories> ]
}

/// Two hundred tasks of a kilobyte, done.
let private work (life: Life) turn =
    for task in 1..200 do
        let number = turn * 200 + task
        let payload = Bytes(Array.zeroCreate 1_000)

        life.Take(Input.Submit(submission $"t{number}" 0 Result None payload, ""))
        life.Take(Input.Report(session 101, attempt number 1, Succeeded, bytes "spool"))

[<Tests>]
let tests =
    testList "journals of random histories" [
        for what, settings in
            [
                "where all is in memory", settings
                "where payloads are split", inHistories
                "where submissions are left to the journal", { inHistories with memory = 100L<B> }
            ] do
            testPropertyWithConfig
                config
                $"restore what lived, {what}"
                (fun (history: Action list) -> Life(settings, worldOf settings).Follow history)

        test "take no more than is kept" {
            let world = World()
            let life = Life(settings, world)
            life.Take(Input.Join(session 101, "w", [| "a" |]))
            life.Take(Input.Ready(session 101, 1))
            let retention = { age = 1_000_000_000L<ms>; bytes = 200_000L<B> }

            for turn in 0..19 do
                work life turn
                world.Wait 1_000L<ms>

                let usage = {
                    kept = life.Scheduler.KeptBytes
                    carried = life.Scheduler.Carried
                    flushedUpTo = ValueNone
                }

                let sizeFor keep since = life.Journal.Size(keep, since)

                match
                    RetentionPolicy.choose retention RetentionPace.Usual usage world.Now sizeFor
                with
                | ValueSome cutoff ->
                    life.Take(Input.Retain cutoff)

                    while life.Scheduler.IsRetaining do
                        life.Take(Input.Retain cutoff)

                    // Nobody reads what is dropped any more.
                    world.Wait 1_000L<ms>
                    life.Take Input.Tick
                | ValueNone -> ()

                let size = life.Journal.Size(Int64.MaxValue, world.Now)
                Expect.isLessThan size.bytes 205_000L "of five millions"

                if turn > 0 then
                    Expect.isGreaterThan size.bytes 120_000L "and no less than there is room for"

            Expect.equal life.Scheduler.Status.finished 4_000L "all are counted"
            life.Restart()
            Expect.equal life.Scheduler.Status.finished 4_000L "and after a restart"
            (close life.Journal).Wait()
        }
    ]
