namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Folders

/// Takes a look at the machine; what it returns tells the asker.
type Query = delegate of Scheduler -> (unit -> unit)

/// What comes to the mailbox.
type Message =
    | Inputs of Input[]
    /// The first one.
    | Resume
    | Ask of Query

/// Lets effects out, in order. Called by one thread at a time; must not block or throw.
type Release = delegate of effects: List<Effect> -> unit

/// Whoever has something for the machine.
type IMailbox =
    /// <summary>Posts a batch; waits while too many are waiting, which slows the sender down.</summary>
    /// <param name="inputs">In order. Not to be changed afterwards.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Completes when they are in the mailbox; faults once that has ended.</returns>
    abstract PostAsync: inputs: Input[] * ct: CancellationToken -> Task

    /// <summary>Looks at the machine between two inputs. The answer comes once what it rests on is durable, however long
    /// the disk takes, or not at all: then what has ended the mailbox is thrown.</summary>
    /// <param name="look">Must be quick and change nothing.</param>
    /// <param name="ct">Ends the wait.</param>
    abstract QueryAsync: look: (Scheduler -> 'answer) * ct: CancellationToken -> Task<'answer>

/// What a machine begins with.
type Beginning = {
    /// New, or restored. From now on nobody else's.
    scheduler: Scheduler
    /// Who writes the journal from now on.
    owner: Guid
    /// Of a restored one: results that have their final names.
    found: IReadOnlyDictionary<Attempt, ContentHash>
    /// What the start found, to be recorded with it.
    notes: Note[]
} with

    /// Of a machine that is new.
    static member OfNew scheduler = {
        scheduler = scheduler
        owner = Guid.NewGuid()
        found = Dictionary()
        notes = [||]
    }

/// What follows from one turn. Used again.
[<Sealed>]
type private Turn() =
    member val StepOutput = StepOutput()

    /// The number of its first event.
    member val First = 0L with get, set

    /// When it was decided.
    member val At = Instant.zero with get, set
    member val Inputs = 0 with get, set

    /// What its inputs brought that the journal is to have.
    member val Bytes = 0L<B> with get, set

    /// Answers to those who looked: what they saw may not be durable yet either.
    member val Answers = List<unit -> unit>()

    member turn.IsEmpty =
        turn.StepOutput.Events.Count = 0
        && turn.StepOutput.Effects.Count = 0
        && turn.Answers.Count = 0

    member turn.Clear() =
        turn.StepOutput.Clear()
        turn.Inputs <- 0
        turn.Bytes <- 0L<B>
        turn.Answers.Clear()

/// <summary>The turns of the mailbox: each steps the machine over what has arrived and has its events made durable, and
/// only then its effects are let out, in the order of the turns. While one is made durable the next are decided.</summary>
/// <param name="beginning">The machine.</param>
/// <param name="journal">Where events are made durable.</param>
/// <param name="release">Where effects go.</param>
/// <param name="clock">The time of every turn.</param>
[<Sealed>]
type Turns(beginning: Beginning, journal: IJournal, release: Release, clock: Clock) =
    let scheduler = beginning.scheduler
    let inputsMax = 4_096
    let bytesMax = 4L * 1024L * 1024L * 1L<B> // a batch of the journal is held whole
    let undurableMax = 16
    let places = new SemaphoreSlim(undurableMax)
    let pool = ConcurrentQueue<Turn>()
    let mutable pending = 0

    let undurable =
        Channel.CreateUnbounded<struct (Task * Turn)>(UnboundedChannelOptions(SingleReader = true))

    let rent () =
        match pool.TryDequeue() with
        | true, turn -> turn
        | _ -> Turn()

    let giveBack (turn: Turn) =
        turn.Clear()
        pool.Enqueue turn

    let mutable turn = rent ()

    let letOut (turn: Turn) =
        release.Invoke turn.StepOutput.Effects

        for index in 0 .. turn.Answers.Count - 1 do
            turn.Answers[index]()

        giveBack turn

    /// What an input brings that the journal is to have.
    let bytesOf input =
        match input with
        | Input.Submit(submission, _)
        | Input.SubmitFile(submission, _) -> submission.MemorySize
        | Input.Report(_, _, _, Bytes bytes) -> int64 bytes.Length * 1L<B>
        | _ -> 0L<B>

    let putOff (durable: Task) turn : Task =
        task {
            do! places.WaitAsync() // a slow disk would fill the memory
            Interlocked.Increment &pending |> ignore
            undurable.Writer.TryWrite(struct (durable, turn)) |> ignore
        }

    /// The next turn begins.
    member _.Begin() =
        turn.At <- clock.Now
        turn.First <- scheduler.LastEvent + 1L

    /// Steps the machine.
    member _.Take(message: Message) =
        match message with
        | Inputs inputs ->
            for input in inputs do
                turn.Bytes <- turn.Bytes + bytesOf input
                scheduler.Step(input, turn.At, turn.StepOutput)

            turn.Inputs <- turn.Inputs + inputs.Length
        | Resume ->
            scheduler.Resume(beginning.owner, beginning.found, turn.At, turn.StepOutput)
            scheduler.Step(Input.Note beginning.notes, turn.At, turn.StepOutput)
        | Ask query ->
            turn.Inputs <- turn.Inputs + 1
            turn.Answers.Add(query.Invoke scheduler)

    /// What this turn has decided by now.
    member _.StepOutput = turn.StepOutput

    /// Whether no more is to be taken into this turn.
    member _.IsFull = turn.Inputs >= inputsMax || turn.Bytes >= bytesMax

    /// <summary>The turn is over: its events become durable, its effects visible, in that order.</summary>
    /// <returns>Completes when the next turn may begin.</returns>
    member _.EndAsync() : Task =
        let over = turn

        if over.IsEmpty then
            over.Clear()
            Task.CompletedTask
        else
            turn <- rent ()

            let durable =
                if over.StepOutput.Events.Count = 0 then
                    ValueTask.CompletedTask
                else
                    journal.AppendAsync(over.At, over.First, over.StepOutput.Events)

            if durable.IsCompletedSuccessfully && Volatile.Read &pending = 0 then
                durable.GetAwaiter().GetResult()
                letOut over
                Task.CompletedTask
            else
                putOff (durable.AsTask()) over

    /// Lets effects out whose events were not durable at once, for ever; faults as the journal does.
    member _.ReleaseAsync() : Task =
        task {
            while true do
                let! struct (durable, turn) = undurable.Reader.ReadAsync()
                do! durable
                letOut turn
                Interlocked.Decrement &pending |> ignore
                places.Release() |> ignore
        }
