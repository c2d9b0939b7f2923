namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core

type private Message =
    | Inputs of Input[]
    | Look of (Scheduler -> unit)

/// Lets effects out, in order. Called by one thread at a time; must not block or throw.
type Release = delegate of effects: List<Effect> -> unit

/// <summary>The mailbox that owns the machine: takes what has arrived, steps the machine over all of it, has the
/// batch of events made durable, and then lets the effects out.</summary>
/// <param name="settings">The machine's settings.</param>
/// <param name="journal">Where events are made durable.</param>
/// <param name="release">Where effects go.</param>
/// <param name="clock">The time of every step.</param>
[<Sealed>]
type SchedulerAgent(settings: Settings, journal: IJournal, release: Release, clock: Clock) =
    // The mailbox has no bound of its own: whoever posts waits here.
    let postsMax = 256
    let turnInputsMax = 4_096
    let turnsMax = 16 // decided, not yet durable
    let credit = new SemaphoreSlim(postsMax)
    let turns = new SemaphoreSlim(turnsMax)
    let died = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
    let scheduler = Scheduler settings
    let pool = System.Collections.Concurrent.ConcurrentQueue<Decisions>()
    let mutable pending = 0

    let undurable =
        Channel.CreateUnbounded<struct (Task * Decisions)>(
            UnboundedChannelOptions(SingleReader = true)
        )

    let rent () =
        match pool.TryDequeue() with
        | true, decisions -> decisions
        | _ -> Decisions()

    let letOut (decisions: Decisions) =
        release.Invoke decisions.Effects
        decisions.Clear()
        pool.Enqueue decisions

    /// Effects whose events were not durable at once wait here, in order.
    let releaseLater () =
        task {
            try
                let mutable goOn = true

                while goOn do
                    let! struct (durable, decisions) = undurable.Reader.ReadAsync()
                    do! durable
                    letOut decisions
                    Interlocked.Decrement &pending |> ignore
                    turns.Release() |> ignore
            with error ->
                died.TrySetException error |> ignore
        }

    /// One turn is over: its events become durable, its effects visible, in that order.
    let commit now (decisions: Decisions) =
        async {
            if decisions.Events.Count = 0 && decisions.Effects.Count = 0 then
                pool.Enqueue decisions
            else
                let durable =
                    if decisions.Events.Count = 0 then
                        ValueTask.CompletedTask
                    else
                        journal.AppendAsync(now, decisions.Events)

                if durable.IsCompletedSuccessfully && Volatile.Read &pending = 0 then
                    letOut decisions
                else
                    // The next turn is decided meanwhile; only so many, or a slow disk would fill the memory.
                    do! turns.WaitAsync() |> Async.AwaitTask
                    Interlocked.Increment &pending |> ignore
                    undurable.Writer.TryWrite(struct (durable.AsTask(), decisions)) |> ignore
        }

    let take now decisions message =
        match message with
        | Inputs inputs ->
            for input in inputs do
                scheduler.Step(input, now, decisions)

            credit.Release() |> ignore
            inputs.Length
        | Look look ->
            look scheduler
            1

    let agent =
        new MailboxProcessor<Message>(fun inbox ->
            let rec turn () =
                async {
                    let! first = inbox.Receive()
                    let now = clock.Now
                    let decisions = rent ()
                    let mutable taken = take now decisions first

                    while taken < turnInputsMax && inbox.CurrentQueueLength > 0 do
                        let! next = inbox.Receive()
                        taken <- taken + take now decisions next

                    do! commit now decisions
                    return! turn ()
                }

            turn ())

    do
        agent.Error.Add(fun error -> died.TrySetException error |> ignore)
        agent.Start()
        releaseLater () |> ignore

    /// Faults with whatever ended the mailbox. Whoever hosts it goes down with it.
    member _.Completion: Task = died.Task

    /// <summary>Posts a batch; waits while too many are waiting, which slows the sender down.</summary>
    /// <param name="inputs">In order. Not to be changed afterwards.</param>
    /// <param name="ct">Ends the wait.</param>
    member _.PostAsync(inputs: Input[], ct: CancellationToken) : Task =
        let waiting = credit.WaitAsync ct

        if waiting.IsCompletedSuccessfully then
            agent.Post(Inputs inputs)
            Task.CompletedTask
        else
            task {
                do! waiting
                agent.Post(Inputs inputs)
            }

    /// <summary>Looks at the machine between two turns.</summary>
    /// <param name="look">Must be quick and change nothing.</param>
    /// <exception cref="T:System.TimeoutException">No answer within 10 s.</exception>
    member _.LookAsync(look: Scheduler -> 'answer) : Task<'answer> =
        let answer =
            TaskCompletionSource<'answer>(TaskCreationOptions.RunContinuationsAsynchronously)

        agent.Post(Look(fun scheduler -> answer.TrySetResult(look scheduler) |> ignore))

        task {
            let! first =
                Task.WhenAny(answer.Task :> Task, died.Task).WaitAsync(TimeSpan.FromSeconds 10.0)

            do! first
            return! answer.Task
        }
