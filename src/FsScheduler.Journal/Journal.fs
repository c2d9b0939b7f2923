namespace FsScheduler.Journal

open System
open System.Buffers
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine

type JournalOptions = {
    /// The folder of payload files.
    spool: string
    /// The owner of new batches: a value that no owner had before.
    owner: Guid
    /// An instant as Unix milliseconds, and back.
    toUnix: Instant -> int64
    toInstant: int64 -> Instant
    /// The mark of a result that is about to be published.
    mark: Content -> ResultMark
    /// Called with the error, once or often, while the disk takes nothing.
    storageFailed: string -> unit
    /// Called after each write that succeeds.
    storageRecovered: unit -> unit
    /// The delay before a failed write is retried.
    betweenTries: TimeSpan
}

/// The work of the journal's thread, in order.
type private Work =
    /// One batch. Batches that wait go to the store together.
    | Append of
        at: Instant *
        first: int64 *
        events: IReadOnlyList<Event> *
        durable: TaskCompletionSource
    | Drop of before: int64 * dropped: TaskCompletionSource

/// <summary>The journal: batches of events over a store. A single writer works in steps: all batches that came since
/// the last step are the next transaction, so that one flush serves them all. `Start` gives the steps a
/// thread.</summary>
/// <param name="store">The batches. The journal owns the store from now on.</param>
/// <param name="options">The options.</param>
[<Sealed>]
type Journal(store: IJournalStore, options: JournalOptions) =
    /// The most batches dropped in one transaction, so that no commit waits long.
    let dropMax = 64
    /// A transaction of this many bytes takes no more batches: its buffers are reused, and stay small.
    let transactionBytes = 1_048_576
    /// Batches that are read ahead at a start, while others are applied.
    let aheadMax = 16
    let reading = JournalReading(store, options.spool, options.toInstant)
    let index = TaskIndex()
    let names = ConcurrentDictionary<SessionId, string>()
    let left = Queue<struct (int64 * SessionId)>()

    let work =
        // The appending thread itself wakes this one up, without a third thread.
        Channel.CreateUnbounded<Work>(
            UnboundedChannelOptions(SingleReader = true, AllowSynchronousContinuations = true)
        )

    /// The batches to append next.
    let appends = List<Work>()

    /// A payload of an event that is not durable yet, but carried already.
    let pending number =
        appends
        |> Seq.tryPick (fun work ->
            match work with
            | Append(_, first, events, _) when
                number >= first && number < first + int64 events.Count
                ->
                match events[int (number - first)] with
                | Event.Advanced(_, _, Held(Bytes bytes))
                | Event.Part(_, _, Held(Bytes bytes))
                | Event.Completed(_, KeptResult(Held(Bytes bytes))) -> Some bytes
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

    let write (events: IReadOnlyList<Event>) : WrittenBatch =
        for position in 0 .. events.Count - 1 do
            writer.Write events[position]

        writer.End()

    let batchOf at first (events: IReadOnlyList<Event>) written : Batch = {
        first = first
        count = events.Count
        at = options.toUnix at
        owner = options.owner
        events = writer.Events written
        payloads = writer.Payloads written
    }

    /// Encodes the first batches to append, as many as one transaction takes, in reused buffers: new arrays of that
    /// size would cost this thread a third of its time in garbage collection.
    let encode () : Batch[] =
        writer.Clear()
        let written = List<WrittenBatch>()

        while written.Count < appends.Count && writer.Length < transactionBytes do
            match appends[written.Count] with
            | Append(_, _, events, _) -> written.Add(write events)
            | Drop _ -> invalidOp "a drop is no batch"

        Array.init written.Count (fun index ->
            match appends[index] with
            | Append(at, first, events, _) -> batchOf at first events written[index]
            | Drop _ -> invalidOp "a drop is no batch")

    /// Whether the journal is being closed: no more work comes.
    let mutable isClosing = false

    /// Whether the last write failed, so that it is to be retried.
    let mutable isFailing = false

    /// Runs a write, and returns whether the disk took it. While the journal is being closed, a failed write is retried
    /// once; no effect of what is then given up was visible. Any other error ends the journal, and the scheduler.
    let tryStore (action: unit -> unit) : bool =
        let isLast = isFailing && Volatile.Read &isClosing

        try
            action ()
            isFailing <- false
            options.storageRecovered ()
            true
        with StoreError(true, message) when not isLast ->
            isFailing <- true
            options.storageFailed message
            false

    /// The encoded first batches of `appends`, kept until the store takes them.
    let mutable batches: Batch[] = [||]

    let observeDurable () =
        lock index (fun () ->
            for position in 0 .. batches.Length - 1 do
                match appends[position] with
                | Append(_, first, events, _) ->
                    for position in 0 .. events.Count - 1 do
                        observe first (first + int64 position) events[position]
                | Drop _ -> ())

    let commit () : bool =
        if batches.Length = 0 && appends.Count > 0 then
            batches <- encode ()

        batches.Length = 0 || tryStore (fun () -> store.Append batches)

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

    /// Drops some batches.
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
        // A failed write is retried unchanged.
        if not isFailing then
            takeIn ()

        if commit () then
            observeDurable ()

            for position in 0 .. batches.Length - 1 do
                finish appends[position] null

            appends.RemoveRange(0, batches.Length)
            batches <- [||]
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

    /// Completes once `Step` has work; false: no more work will come.
    member _.WaitAsync() : ValueTask<bool> =
        if isFailing || appends.Count > 0 || drops.Count > 0 then
            ValueTask<bool> true
        else
            work.Reader.WaitToReadAsync()

    /// <summary>Appends the batches since the last step, and drops some old ones. One call at a time.</summary>
    /// <returns>False: the disk takes nothing now; call again after a while.</returns>
    /// <exception cref="T:FsScheduler.Journal.QueueLost">Another scheduler has the queue. As any error, this ends
    /// all.</exception>
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

    /// Starts the thread that does the steps.
    member journal.Start() =
        let run () =
            try
                while journal.WaitAsync().AsTask().GetAwaiter().GetResult() do
                    if not (journal.Step()) then
                        Thread.Sleep options.betweenTries
            with _ ->
                () // every waiting call has the error by now

        let started = Thread(run, IsBackground = true, Name = "journal")
        thread <- started
        started.Start()

    /// <summary>The events of earlier runs, in order, each with its number and its time on this process's clock. To be
    /// read to the end before any append.</summary>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The journal is damaged.</exception>
    member _.Recover() : seq<struct (int64 * Instant * Event)> =
        let reader = EventReader(options.spool, true, options.toInstant)

        let pool = ArrayPool<struct (int64 * Instant * Event)>.Shared

        // Rented arrays: new ones of this size for each batch would cause full garbage collections again and again.
        let read (batch: Batch) =
            let events = pool.Rent(if Batch.isLost batch then 0 else batch.count)
            let count = EventBatch.fill reader options.toInstant batch events

            for index in 0 .. count - 1 do
                let struct (number, _, event) = events[index]
                observe batch.first number event

            struct (events, count)

        seq {
            for struct (events, count) in store.Read 0L |> Seq.map read |> ReadAhead.ofSeq aheadMax do
                for index in 0 .. count - 1 do
                    events[index]

                pool.Return(events, true)
        }

    /// The number of the next event.
    member _.Next: int64 = store.Size(Int64.MaxValue, Int64.MinValue).next

    member _.Owner = options.owner

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
