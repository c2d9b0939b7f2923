namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Folders

/// Runs a read-only query on the machine between two inputs; the returned action sends the answer once it is durable.
type Query = delegate of Scheduler -> (unit -> unit)

/// A message to the mailbox.
type Message =
    | Inputs of Input[]
    /// Always the first message.
    | Resume
    | Ask of Query

/// Releases the effects of a durable batch, in order. Called by one thread at a time; must not block or throw.
type Release = delegate of effects: List<Effect> -> unit

/// The mailbox, for senders of inputs and queries.
type IMailbox =
    /// <summary>Posts a batch of inputs. Waits while the mailbox is full, which slows the sender down.</summary>
    /// <param name="inputs">In order. Not to be changed afterwards.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Completes when the inputs are in the mailbox; faults once the mailbox has ended.</returns>
    abstract PostAsync: inputs: Input[] * ct: CancellationToken -> Task

    /// <summary>Runs a query on the machine between two inputs. The answer comes once the events it rests on are
    /// durable, however long the disk takes; if the mailbox ends first, its exception is thrown.</summary>
    /// <param name="query">Must be quick and change nothing.</param>
    /// <param name="ct">Ends the wait.</param>
    abstract QueryAsync: query: (Scheduler -> 'answer) * ct: CancellationToken -> Task<'answer>

module Mailbox =

    /// <summary>Records a note.</summary>
    /// <returns>Completes when the note is durable.</returns>
    let noteDurably (mailbox: IMailbox) (note: Note) (ct: CancellationToken) : Task =
        task {
            do! mailbox.PostAsync([| Input.Note [| note |] |], ct)
            // An answer comes once all before it is durable.
            let! _ = mailbox.QueryAsync(_.LastEvent, ct)
            ()
        }

/// What a mailbox starts from.
type InitialState = {
    /// New, or restored. Owned by the mailbox from now on.
    scheduler: Scheduler
    /// Identifies this run as the writer of the journal.
    owner: Guid
    /// Results of earlier runs that were found under their final names.
    found: IReadOnlyDictionary<Attempt, ContentHash>
    /// Parts of results of earlier runs whose files are gone.
    lost: PartFile[]
    /// Notes of the start, for the journal.
    notes: Note[]
} with

    /// Starts from a new scheduler.
    static member OfNew scheduler = {
        scheduler = scheduler
        owner = Guid.NewGuid()
        found = Dictionary()
        lost = [||]
        notes = [||]
    }

/// The outcome of one batch of inputs. Reused.
[<Sealed>]
type private MailboxBatch() =
    member val StepOutput = StepOutput()

    /// The number of the first event.
    member val First = 0L with get, set

    /// The time of the decisions.
    member val At = Instant.zero with get, set
    member val Inputs = 0 with get, set

    /// Payload bytes of the inputs that go into the journal.
    member val Bytes = 0L<B> with get, set

    /// Answers to queries, which may rest on events that are not durable yet.
    member val Answers = List<unit -> unit>()

    member batch.IsEmpty =
        batch.StepOutput.Events.Count = 0
        && batch.StepOutput.Effects.Count = 0
        && batch.Answers.Count = 0

    member batch.Clear() =
        batch.StepOutput.Clear()
        batch.Inputs <- 0
        batch.Bytes <- 0L<B>
        batch.Answers.Clear()

/// <summary>The batches of the mailbox. Each steps the machine over its inputs, has the events made durable, and only
/// then releases its effects, in order. While one batch is being written the next ones are decided.</summary>
/// <param name="initial">What to start from.</param>
/// <param name="journal">Makes events durable.</param>
/// <param name="release">Releases effects.</param>
/// <param name="clock">The time of every batch.</param>
[<Sealed>]
type BatchPipeline(initial: InitialState, journal: IJournal, release: Release, clock: Clock) =
    let scheduler = initial.scheduler
    let inputsMax = 4_096
    let bytesMax = 4L * 1024L * 1024L * 1L<B> // the journal holds a batch in memory
    let undurableMax = 16
    let places = new SemaphoreSlim(undurableMax)
    let pool = ConcurrentQueue<MailboxBatch>()
    let mutable pending = 0

    let undurable =
        Channel.CreateUnbounded<struct (Task * MailboxBatch)>(
            UnboundedChannelOptions(SingleReader = true)
        )

    let rent () =
        match pool.TryDequeue() with
        | true, batch -> batch
        | _ -> MailboxBatch()

    let recycle (batch: MailboxBatch) =
        batch.Clear()
        pool.Enqueue batch

    let mutable batch = rent ()

    let releaseEffects (batch: MailboxBatch) =
        release.Invoke batch.StepOutput.Effects

        for index in 0 .. batch.Answers.Count - 1 do
            batch.Answers[index]()

        recycle batch

    /// Payload bytes of an input that go into the journal.
    let bytesOf input =
        match input with
        | Input.Submit(submission, _)
        | Input.SubmitFile(submission, _) -> submission.MemorySize
        | Input.Report(_, _, _, Bytes bytes) -> int64 bytes.Length * 1L<B>
        | _ -> 0L<B>

    let enqueue (durable: Task) batch : Task =
        task {
            do! places.WaitAsync() // bounds the memory of batches that wait for a slow disk
            Interlocked.Increment &pending |> ignore
            undurable.Writer.TryWrite(struct (durable, batch)) |> ignore
        }

    /// Begins the next batch.
    member _.Begin() =
        batch.At <- clock.Now
        batch.First <- scheduler.LastEvent + 1L

    /// Steps the machine over the inputs of a message, or runs its query.
    member _.Take(message: Message) =
        match message with
        | Inputs inputs ->
            for input in inputs do
                batch.Bytes <- batch.Bytes + bytesOf input
                scheduler.Step(input, batch.At, batch.StepOutput)

            batch.Inputs <- batch.Inputs + inputs.Length
        | Resume ->
            scheduler.Resume(initial.owner, initial.found, initial.lost, batch.At, batch.StepOutput)
            scheduler.Step(Input.Note initial.notes, batch.At, batch.StepOutput)
        | Ask query ->
            batch.Inputs <- batch.Inputs + 1
            batch.Answers.Add(query.Invoke scheduler)

    /// What the current batch has decided so far.
    member _.StepOutput = batch.StepOutput

    /// Whether the current batch takes no more messages.
    member _.IsFull = batch.Inputs >= inputsMax || batch.Bytes >= bytesMax

    /// <summary>Ends the current batch: its events become durable, then its effects visible.</summary>
    /// <returns>Completes when the next batch may begin.</returns>
    member _.EndAsync() : Task =
        let over = batch

        if over.IsEmpty then
            over.Clear()
            Task.CompletedTask
        else
            batch <- rent ()

            let durable =
                if over.StepOutput.Events.Count = 0 then
                    ValueTask.CompletedTask
                else
                    journal.AppendAsync(over.At, over.First, over.StepOutput.Events)

            if durable.IsCompletedSuccessfully && Volatile.Read &pending = 0 then
                durable.GetAwaiter().GetResult()
                releaseEffects over
                Task.CompletedTask
            else
                enqueue (durable.AsTask()) over

    /// Releases the effects of batches whose events were not durable at once. Never ends; faults as the journal does.
    member _.ReleaseAsync() : Task =
        task {
            while true do
                let! struct (durable, batch) = undurable.Reader.ReadAsync()
                do! durable
                releaseEffects batch
                Interlocked.Decrement &pending |> ignore
                places.Release() |> ignore
        }
