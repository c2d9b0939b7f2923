namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Journal

/// Takes a look at the machine; what it returns tells the asker.
type private Glance = delegate of Scheduler -> (unit -> unit)

type private Message =
    | Inputs of Input[]
    /// The first one, after a restart.
    | Resume
    | Look of Glance

/// What follows from one turn of the mailbox. Used again.
[<Sealed>]
type private Turn() =
    member val Decisions = Decisions()

    /// The number of its first event.
    member val First = 0L with get, set

    /// What its inputs brought that the journal is to have.
    member val Bytes = 0L<B> with get, set
    /// Answers to those who looked: what they saw may not be durable yet either.
    member val Answers = List<unit -> unit>()

    member turn.IsEmpty =
        turn.Decisions.Events.Count = 0
        && turn.Decisions.Effects.Count = 0
        && turn.Answers.Count = 0

    member turn.Clear() =
        turn.Decisions.Clear()
        turn.Bytes <- 0L<B>
        turn.Answers.Clear()

/// Lets effects out, in order. Called by one thread at a time; must not block or throw.
type Release = delegate of effects: List<Effect> -> unit

/// <summary>The mailbox that owns the machine: takes what has arrived, steps the machine over all of it, has the
/// batch of events made durable, and then lets the effects out.</summary>
/// <param name="scheduler">The machine: new, or restored. From now on nobody else's.</param>
/// <param name="owner">Who writes the journal from now on.</param>
/// <param name="found">Of a restored one: results that have their final names, for `Resume`.</param>
/// <param name="notes">What the start found, to be recorded with it.</param>
/// <param name="journal">Where events are made durable.</param>
/// <param name="release">Where effects go.</param>
/// <param name="clock">The time of every step.</param>
[<Sealed>]
type SchedulerAgent
    (
        scheduler: Scheduler,
        owner: Guid,
        found: IReadOnlyDictionary<Attempt, Proof>,
        notes: Note[],
        journal: IJournal,
        release: Release,
        clock: Clock
    ) =
    // The mailbox has no bound of its own: whoever posts waits here.
    let postsMax = 256
    let turnInputsMax = 4_096
    let turnBytesMax = 4L * 1024L * 1024L * 1L<B> // a batch of the journal is held whole
    let turnsMax = 16 // decided, not yet durable
    let credit = new SemaphoreSlim(postsMax)
    let posters = 1_000_000 // more than there can be
    let turns = new SemaphoreSlim(turnsMax)
    let died = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
    let pool = System.Collections.Concurrent.ConcurrentQueue<Turn>()
    let mutable pending = 0
    let statusEvery = 500L<ms>
    let mutable status = scheduler.Status
    let mutable statusAt = Instant.zero

    let undurable =
        Channel.CreateUnbounded<struct (Task * Turn)>(UnboundedChannelOptions(SingleReader = true))

    let rent () =
        match pool.TryDequeue() with
        | true, turn -> turn
        | _ -> Turn()

    let letOut (turn: Turn) =
        release.Invoke turn.Decisions.Effects

        for index in 0 .. turn.Answers.Count - 1 do
            turn.Answers[index]()

        turn.Clear()
        pool.Enqueue turn

    /// Nobody waits for a dead mailbox: who would, finds out at once.
    let die (error: exn) =
        if died.TrySetException error then
            credit.Release posters |> ignore

    /// Effects whose events were not durable at once wait here, in order.
    let releaseLater () =
        task {
            try
                let mutable goOn = true

                while goOn do
                    let! struct (durable, turn) = undurable.Reader.ReadAsync()
                    do! durable
                    letOut turn
                    Interlocked.Decrement &pending |> ignore
                    turns.Release() |> ignore
            with error ->
                die error
        }

    /// One turn is over: its events become durable, its effects visible, in that order.
    let commit now (turn: Turn) =
        async {
            if turn.IsEmpty then
                turn.Clear()
                pool.Enqueue turn
            else
                let durable =
                    if turn.Decisions.Events.Count = 0 then
                        ValueTask.CompletedTask
                    else
                        journal.AppendAsync(now, turn.First, turn.Decisions.Events)

                if durable.IsCompletedSuccessfully && Volatile.Read &pending = 0 then
                    durable.GetAwaiter().GetResult()
                    letOut turn
                else
                    // The next turn is decided meanwhile; only so many, or a slow disk would fill the memory.
                    do! turns.WaitAsync() |> Async.AwaitTask
                    Interlocked.Increment &pending |> ignore
                    undurable.Writer.TryWrite(struct (durable.AsTask(), turn)) |> ignore
        }

    /// What an input brings that the journal is to have.
    let bytesOf input =
        match input with
        | Input.Submit(submission, _) -> submission.MemorySize
        | Input.Report(_, _, _, Bytes bytes) -> int64 bytes.Length * 1L<B>
        | _ -> 0L<B>

    let take now (turn: Turn) message =
        if now - statusAt >= statusEvery then
            status <- scheduler.Status
            statusAt <- now

        match message with
        | Inputs inputs ->
            for input in inputs do
                turn.Bytes <- turn.Bytes + bytesOf input
                scheduler.Step(input, now, turn.Decisions)

            credit.Release() |> ignore
            inputs.Length
        | Resume ->
            scheduler.Resume(owner, found, now, turn.Decisions)
            scheduler.Step(Input.Note notes, now, turn.Decisions)
            1
        | Look look ->
            turn.Answers.Add(look.Invoke scheduler)
            1

    let agent =
        new MailboxProcessor<Message>(fun inbox ->
            let rec loop () =
                async {
                    let! first = inbox.Receive()
                    let now = clock.Now
                    let turn = rent ()
                    turn.First <- scheduler.LastEvent + 1L
                    let mutable taken = take now turn first

                    while taken < turnInputsMax
                          && turn.Bytes < turnBytesMax
                          && inbox.CurrentQueueLength > 0 do
                        let! next = inbox.Receive()
                        taken <- taken + take now turn next

                    do! commit now turn

                    // A journal that has failed ends the mailbox too.
                    if not died.Task.IsCompleted then
                        return! loop ()
                }

            loop ())

    do
        agent.Error.Add die
        agent.Post Resume
        agent.Start()
        releaseLater () |> ignore

    /// Of a machine that is new.
    new(scheduler, journal, release, clock) =
        SchedulerAgent(scheduler, Guid.NewGuid(), Dictionary(), [||], journal, release, clock)

    /// How it stood half a second before its last turn, or later: what there is to say while the journal is held up, and
    /// nobody can be answered.
    member _.LatestStatus = status

    /// The time of the machine's next step.
    member _.Now = clock.Now

    /// Faults with whatever ended the mailbox. Whoever hosts it goes down with it.
    member _.Completion: Task = died.Task

    /// <summary>Posts a batch; waits while too many are waiting, which slows the sender down.</summary>
    /// <param name="inputs">In order. Not to be changed afterwards.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Completes when they are in the mailbox; faults as `Completion` does once that has.</returns>
    member _.PostAsync(inputs: Input[], ct: CancellationToken) : Task =
        let waiting = credit.WaitAsync ct

        if died.Task.IsCompleted then
            died.Task
        elif waiting.IsCompletedSuccessfully then
            agent.Post(Inputs inputs)
            Task.CompletedTask
        else
            task {
                do! waiting

                if died.Task.IsCompleted then
                    do! died.Task

                agent.Post(Inputs inputs)
            }

    /// <summary>Looks at the machine between two inputs. The answer comes once what it rests on is durable, however long the
    /// disk takes, or not at all: then what has ended the mailbox is thrown.</summary>
    /// <param name="look">Must be quick and change nothing.</param>
    member _.LookAsync(look: Scheduler -> 'answer) : Task<'answer> =
        let answer =
            TaskCompletionSource<'answer>(TaskCreationOptions.RunContinuationsAsynchronously)

        agent.Post(
            Look(
                Glance(fun scheduler ->
                    let seen = look scheduler
                    fun () -> answer.TrySetResult seen |> ignore)
            )
        )

        task {
            let! first = Task.WhenAny(answer.Task, died.Task)
            do! first
            return! answer.Task
        }
