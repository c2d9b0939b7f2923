namespace FsScheduler.Server

open System
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform

/// <summary>The mailbox that owns the machine: takes what has arrived, steps the machine over all of it, has the
/// batch of events made durable, and then lets the effects out.</summary>
/// <param name="beginning">The machine.</param>
/// <param name="journal">Where events are made durable.</param>
/// <param name="release">Where effects go.</param>
/// <param name="clock">The time of every step.</param>
[<Sealed>]
type SchedulerAgent(beginning: Beginning, journal: IJournal, release: Release, clock: Clock) =
    // The mailbox has no bound of its own: whoever posts waits here.
    let postsMax = 256
    let credit = new SemaphoreSlim(postsMax)
    let posters = 1_000_000 // more than there can be
    let died = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
    let turns = Turns(beginning, journal, release, clock)
    let statusEvery = 500L<ms>
    let mutable status = beginning.scheduler.Status
    let mutable statusAt = Instant.zero

    /// Nobody waits for a dead mailbox: who would, finds out at once.
    let die (error: exn) =
        if died.TrySetException error then
            credit.Release posters |> ignore

    let noteStatus () =
        let now = clock.Now

        if now - statusAt >= statusEvery then
            status <- beginning.scheduler.Status
            statusAt <- now

    let take message =
        turns.Take message

        if message.IsInputs then
            credit.Release() |> ignore

    let agent =
        new MailboxProcessor<Message>(fun inbox ->
            let rec loop () =
                async {
                    let! first = inbox.Receive()
                    noteStatus ()
                    turns.Begin()
                    take first

                    while not turns.IsFull && inbox.CurrentQueueLength > 0 do
                        let! next = inbox.Receive()
                        take next

                    let ended = turns.EndAsync()

                    if not ended.IsCompletedSuccessfully then
                        do! Async.AwaitTask ended

                    // A journal that has failed ends the mailbox too.
                    if not died.Task.IsCompleted then
                        return! loop ()
                }

            loop ())

    let release () : Task =
        task {
            try
                do! turns.ReleaseAsync()
            with error ->
                die error
        }

    do
        agent.Error.Add die
        agent.Post Resume
        agent.Start()
        release () |> ignore

    /// Of a machine that is new.
    new(scheduler, journal, release, clock) =
        SchedulerAgent(Beginning.OfNew scheduler, journal, release, clock)

    /// How it stood half a second before its last turn, or later: what there is to say while the journal is held up, and
    /// nobody can be answered.
    member _.LatestStatus = status

    /// The time of the machine's next step.
    member _.Now = clock.Now

    /// Faults with whatever ended the mailbox. Whoever hosts it goes down with it.
    member _.Completion: Task = died.Task

    /// As `IMailbox` has it.
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

    /// As `IMailbox` has it.
    member _.QueryAsync(look: Scheduler -> 'answer) : Task<'answer> =
        let answer =
            TaskCompletionSource<'answer>(TaskCreationOptions.RunContinuationsAsynchronously)

        agent.Post(
            Ask(
                Query(fun scheduler ->
                    let seen = look scheduler
                    fun () -> answer.TrySetResult seen |> ignore)
            )
        )

        task {
            let! first = Task.WhenAny(answer.Task, died.Task)
            do! first
            return! answer.Task
        }

    interface IMailbox with
        member agent.PostAsync(inputs, ct) = agent.PostAsync(inputs, ct)
        member agent.QueryAsync(look, ct) = agent.QueryAsync(look).WaitAsync ct
