namespace FsScheduler.Server

open System
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform

/// <summary>The mailbox that owns the machine: steps it over all inputs that have arrived, has the batch of events made
/// durable, and then releases the effects.</summary>
/// <param name="initial">What to start from.</param>
/// <param name="journal">Makes events durable.</param>
/// <param name="release">Releases effects.</param>
/// <param name="clock">The time of every step.</param>
[<Sealed>]
type SchedulerAgent(initial: InitialState, journal: IJournal, release: Release, clock: Clock) =
    // The mailbox itself is unbounded: senders wait here instead.
    let postsMax = 256
    let credit = new SemaphoreSlim(postsMax)
    let posters = 1_000_000 // more than there can be
    let died = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
    let batches = BatchPipeline(initial, journal, release, clock)
    let statusEvery = 500L<ms>
    let mutable status = initial.scheduler.Status
    let mutable statusAt = Instant.zero

    /// Fails the senders that wait, and all later ones, at once.
    let die (error: exn) =
        if died.TrySetException error then
            credit.Release posters |> ignore

    let noteStatus () =
        let now = clock.Now

        if now - statusAt >= statusEvery then
            status <- initial.scheduler.Status
            statusAt <- now

    let take message =
        batches.Take message

        if message.IsInputs then
            credit.Release() |> ignore

    let agent =
        new MailboxProcessor<Message>(fun inbox ->
            let rec loop () =
                async {
                    let! first = inbox.Receive()
                    noteStatus ()
                    batches.Begin()
                    take first

                    while not batches.IsFull && inbox.CurrentQueueLength > 0 do
                        let! next = inbox.Receive()
                        take next

                    let ended = batches.EndAsync()

                    if not ended.IsCompletedSuccessfully then
                        do! Async.AwaitTask ended

                    // A failed journal ends the mailbox too.
                    if not died.Task.IsCompleted then
                        return! loop ()
                }

            loop ())

    let release () : Task =
        task {
            try
                do! batches.ReleaseAsync()
            with error ->
                die error
        }

    do
        agent.Error.Add die
        agent.Post Resume
        agent.Start()
        release () |> ignore

    /// Starts from a new scheduler.
    new(scheduler, journal, release, clock) =
        SchedulerAgent(InitialState.OfNew scheduler, journal, release, clock)

    /// The status of at most half a second before the latest batch: the answer to STATUS while the journal waits for the disk.
    member _.LatestStatus = status

    /// The time of the machine's next step.
    member _.Now = clock.Now

    /// Faults with whatever ended the mailbox; the host ends with it.
    member _.Completion: Task = died.Task

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

    member _.QueryAsync(query: Scheduler -> 'answer) : Task<'answer> =
        let answer =
            TaskCompletionSource<'answer>(TaskCreationOptions.RunContinuationsAsynchronously)

        agent.Post(
            Ask(
                Query(fun scheduler ->
                    let seen = query scheduler
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
        member agent.QueryAsync(query, ct) = agent.QueryAsync(query).WaitAsync ct
