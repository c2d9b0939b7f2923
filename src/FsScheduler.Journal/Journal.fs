namespace FsScheduler.Journal

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core

/// What a journal is opened with.
type JournalOptions = {
    /// The folder of payloads that are files.
    spool: string
    /// Who writes from now on: a value that nobody had before.
    owner: Guid
    /// A time as Unix milliseconds, and back.
    toUnix: Instant -> int64
    toInstant: int64 -> Instant
    /// By what a result is known that is about to be published.
    mark: Payload -> ResultMark
    /// Told, once or often, that the disk takes nothing.
    heldUp: string -> unit
    /// Told that it takes something again, or as before.
    goesOn: unit -> unit
    /// How long is waited before a disk that took nothing is asked again.
    betweenTries: TimeSpan
}

/// What the journal's thread is asked to do, in order.
type private Work =
    /// One batch. Those that are there go to the store together.
    | Append of
        at: Instant *
        first: int64 *
        events: IReadOnlyList<Event> *
        durable: TaskCompletionSource
    | Drop of before: int64 * dropped: TaskCompletionSource

/// <summary>The journal: events, in batches, over a store. One writes, in steps: whatever has come since the last one becomes
/// the next transaction, so one flush serves all of it. A thread does that, once it is started.</summary>
/// <param name="store">Has the batches. From now on nobody else's.</param>
/// <param name="options">See there.</param>
[<Sealed>]
type Journal(store: IJournalStore, options: JournalOptions) =
    /// Batches that are dropped in one transaction, so that no commit waits long.
    let dropMax = 64
    let reading = JournalReading(store, options.spool, options.toInstant)
    let index = TaskIndex()
    let names = ConcurrentDictionary<SessionId, string>()
    let left = Queue<struct (int64 * SessionId)>()

    let work =
        Channel.CreateUnbounded<Work>(UnboundedChannelOptions(SingleReader = true))

    /// What is to be made durable together.
    let appends = List<Work>()

    /// Events that are not durable yet may have what is carried already.
    let pending number =
        appends
        |> Seq.tryPick (fun work ->
            match work with
            | Append(_, first, events, _) when
                number >= first && number < first + int64 events.Count
                ->
                match events[int (number - first)] with
                | Event.Advanced(_, _, Bytes bytes)
                | Event.Part(_, _, Bytes bytes)
                | Event.Completed(_, KeptResult(Bytes bytes)) -> Some bytes
                | _ -> None
            | _ -> None)

    let writer =
        EventWriter {
            toUnix = options.toUnix
            mark = options.mark
            submission = fun number -> reading.Submission number
            payload =
                fun number ->
                    match pending number with
                    | Some bytes -> bytes
                    | None -> reading.Payload number
        }

    let observe (batch: int64) (number: int64) event =
        match event with
        | Event.Submitted(id, _, _) -> index.Add(id, batch)
        | Event.Carried(Carried.Task carried) -> index.Add(carried.task, batch)
        | Event.Joined(session, name, _)
        | Event.Carried(Carried.Worker(session, name, _)) -> names[session] <- name
        | Event.Left(session, _, _) -> left.Enqueue(struct (number, session))
        | _ -> ()

    let encode at first (events: IReadOnlyList<Event>) : Batch =
        writer.Clear()

        for position in 0 .. events.Count - 1 do
            writer.Write events[position]

        let struct (json, payloads) = writer.Take()

        {
            first = first
            count = events.Count
            at = options.toUnix at
            owner = options.owner
            events = ReadOnlyMemory json
            payloads = ReadOnlyMemory payloads
        }

    /// Set once nobody will come any more.
    let mutable isClosing = false

    /// Whether the disk took nothing the last time.
    let mutable isHeld = false

    /// Whether the disk took it. While the journal is being closed, it is tried once more; nothing of what is given up then has
    /// been shown to anybody. A failure that would come again ends the journal, and with it the scheduler.
    let tryStore (action: unit -> unit) : bool =
        let isLast = isHeld && Volatile.Read &isClosing

        try
            action ()
            isHeld <- false
            options.goesOn ()
            true
        with StoreError(true, message) when not isLast ->
            isHeld <- true
            options.heldUp message
            false

    /// Of `appends`, as the store has them.
    let batches = List<Batch>()

    let observeAll () =
        lock index (fun () ->
            for work in appends do
                match work with
                | Append(_, first, events, _) ->
                    for position in 0 .. events.Count - 1 do
                        observe first (first + int64 position) events[position]
                | Drop _ -> ())

    let commit () : bool =
        if batches.Count = 0 then
            for work in appends do
                match work with
                | Append(at, first, events, _) -> batches.Add(encode at first events)
                | Drop _ -> ()

        batches.Count = 0 || tryStore (fun () -> store.Append batches)

    let finish (work: Work) (outcome: exn | null) =
        match work with
        | Append(_, _, _, over)
        | Drop(_, over) ->
            match outcome with
            | null -> over.TrySetResult() |> ignore
            | error -> over.TrySetException error |> ignore

    let forget before =
        lock index (fun () ->
            index.Drop before

            while left.Count > 0
                  && (let struct (number, _) = left.Peek()
                      number < before) do
                let struct (_, session) = left.Dequeue()
                names.TryRemove session |> ignore)

    let drops = Queue<Work>()

    /// A part of what is to be dropped.
    let dropSome () : bool =
        match drops.TryPeek() with
        | true, (Drop(before, _) as work) ->
            let mutable more = false
            let isDropped = tryStore (fun () -> more <- store.Drop(before, dropMax))

            if isDropped && not more then
                forget before
                drops.Dequeue() |> ignore
                finish work null

            isDropped
        | _ -> true

    let takeIn () =
        let mutable next = Unchecked.defaultof<Work>

        while work.Reader.TryRead(&next) do
            match next with
            | Append _ -> appends.Add next
            | Drop _ -> drops.Enqueue next

    let perform () : bool =
        // The same again, where the disk did not take it.
        if not isHeld then
            takeIn ()

        if commit () then
            observeAll ()

            for work in appends do
                finish work null

            appends.Clear()
            batches.Clear()
            dropSome ()
        else
            false

    let fail (error: exn) =
        work.Writer.TryComplete error |> ignore
        takeIn ()

        for work in appends do
            finish work error

        for work in drops do
            finish work error

    let mutable thread: Thread | null = null

    let post make : Task =
        let over = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

        if not (work.Writer.TryWrite(make over)) then
            over.TrySetException(IOException "the journal is closed") |> ignore

        over.Task

    /// Completes once there is something to do for `Step`; false: nothing will come any more.
    member _.WaitAsync() : ValueTask<bool> =
        if isHeld || drops.Count > 0 then
            ValueTask<bool> true
        else
            work.Reader.WaitToReadAsync()

    /// <summary>Makes durable what has come since the last step, and drops some of what is to be dropped. By one thread at a
    /// time.</summary>
    /// <returns>False: the disk takes nothing now; to be tried again after a while.</returns>
    /// <exception cref="T:FsScheduler.Journal.QueueLost">Another scheduler has the queue. This, as any other failure, ends the
    /// journal.</exception>
    /// <exception cref="T:System.IO.IOException">The store fails.</exception>
    member _.Step() : bool =
        try
            perform ()
        with error ->
            let error: exn =
                match error with
                | StoreError(_, message) -> IOException message
                | _ -> error

            fail error
            ExceptionDispatchInfo.Throw error
            false

    /// Has a thread do the steps from now on.
    member journal.Start() =
        let run () =
            try
                while journal.WaitAsync().AsTask().GetAwaiter().GetResult() do
                    if not (journal.Step()) then
                        Thread.Sleep options.betweenTries
            with _ ->
                () // told to everybody by now

        let started = Thread(run, IsBackground = true, Name = "journal")
        thread <- started
        started.Start()

    /// <summary>The events of earlier runs, in order, each with its number and its time on this process's clock. To be read
    /// to its end before anything is appended.</summary>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">It is damaged.</exception>
    member _.Recover() : seq<struct (int64 * Instant * Event)> =
        seq {
            let reader = EventReader(options.spool, true, options.toInstant)

            for batch in store.Read 0L do
                for struct (number, _, event) as recorded in
                    EventBatch.read reader options.toInstant batch do
                    observe batch.first number event
                    recorded
        }

    /// The number of the next event.
    member _.Next: int64 = store.Size(Int64.MaxValue, Int64.MinValue).next

    /// Who writes it from now on.
    member _.Owner = options.owner

    /// As `IJournal` has it.
    member _.Size(keep: int64, since: Instant) : StoreSize = store.Size(keep, options.toUnix since)

    interface IJournal with
        member _.AppendAsync(at, first, events) =
            ValueTask(post (fun over -> Append(at, first, events, over)))

        member _.ReadSubmission number = reading.Submission number
        member _.ReadPayload number = reading.Payload number
        member _.DropAsync before = post (fun over -> Drop(before, over))
        member journal.Size(keep, since) = journal.Size(keep, since)

    interface IHistory with
        member _.EventsOf task =
            let start = lock index (fun () -> index.StartOf task)
            JournalHistory.ofTask store options.spool start task

        member _.EventsAfter(number, most) = JournalHistory.after store number most

        member _.Finished(after, upTo, isUnfinished) =
            let start, before =
                lock index (fun () -> index.StartOf(after + 1L<taskId>), index.Before)

            JournalHistory.finished store options.spool start before after upTo isUnfinished

        member _.WorkerName session =
            match names.TryGetValue session with
            | true, name -> name
            | _ -> $"session {session}"

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                Volatile.Write(&isClosing, true)
                work.Writer.TryComplete() |> ignore

                match thread with
                | null -> ()
                | thread -> do! Task.Run(fun () -> thread.Join())

                store.Dispose()
            }
            |> ValueTask
