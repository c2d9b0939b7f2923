namespace FsScheduler.Runtime

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.Data.Sqlite
open Microsoft.Extensions.Logging
open SQLitePCL
open FsScheduler.Core

/// What the journal's thread is asked to do, in order.
type private Work =
    /// Written with whatever else is there, as one transaction.
    | Append of
        at: int64 *
        first: int64 *
        events: IReadOnlyList<Event> *
        durable: TaskCompletionSource
    /// A transaction of its own.
    | Change of change: (unit -> unit) * over: TaskCompletionSource

/// What a journal is opened with.
type JournalOptions = {
    /// The folder of the scheduler's own files.
    folder: string
    sync: Sync
    clock: Clock
    retention: Retention
    /// Told when the disk takes nothing.
    holdup: Holdup
    log: ILogger
}

/// What stays open as long as the journal does.
type private JournalParts = {
    writing: SqliteConnection
    rows: EventRows
    reading: SqliteConnection
    reader: EventReader
    retirement: Retirement
    names: ConcurrentDictionary<SessionId, string>
}

module private JournalParts =

    let private folderOf (options: JournalOptions) = Path.Combine(options.folder, "spool")

    /// All of them or none.
    let openAll (options: JournalOptions) : JournalParts =
        let path = JournalFile.pathIn options.folder
        let opened = Stack<IDisposable>()

        let own (part: unit -> 'T) : 'T =
            let part = JournalFile.whileFull options.holdup path part
            opened.Push part
            part

        try
            let writing =
                own (fun () ->
                    JournalFile.openForWriting path options.sync options.holdup options.log)

            JournalFile.whileFull options.holdup path (fun () ->
                JournalFile.noteBegin
                    writing
                    (options.clock.DateOf(options.clock.Now).ToUnixTimeMilliseconds()))

            let rows = own (fun () -> new EventRows(nonNull writing.Handle))
            let reading = own (fun () -> JournalFile.openForReading path)

            let reader =
                own (fun () -> new EventReader(nonNull reading.Handle, folderOf options, false))

            JournalFile.whileFull options.holdup path (fun () ->
                let names = ConcurrentDictionary<SessionId, string>()

                for struct (session, name) in JournalFile.workerNames reading do
                    names[session] <- name

                {
                    writing = writing
                    rows = rows
                    reading = reading
                    reader = reader
                    retirement =
                        Retirement(
                            writing,
                            options.folder,
                            options.retention,
                            options.sync,
                            options.clock
                        )
                    names = names
                })
        with _ ->
            while opened.Count > 0 do
                opened.Pop().Dispose()

            reraise ()

/// <summary>The journal in an SQLite file. One thread writes: whatever has come while it wrote becomes the next
/// transaction, so one flush serves all of it.</summary>
/// <exception cref="T:FsScheduler.Runtime.JournalRefused">The file is damaged, or of a newer version.</exception>
/// <exception cref="T:System.IO.IOException">It cannot be written. A disk that is full is waited for.</exception>
[<Sealed>]
type SqliteJournal(options: JournalOptions) =
    let path = JournalFile.pathIn options.folder
    let spool = Path.Combine(options.folder, "spool")
    let toInstant = JournalFile.toInstant options.clock
    let parts = JournalParts.openAll options
    let writing = parts.writing
    let rows = parts.rows
    let reading = parts.reading
    let reader = parts.reader
    let retirement = parts.retirement
    let names = parts.names

    let work =
        Channel.CreateUnbounded<Work>(UnboundedChannelOptions(SingleReader = true))

    let place = $"the journal {path}"

    /// What one transaction is to hold, until the disk has taken it.
    let batch = List<Work>()

    /// What has reached somebody and is not recorded. What comes while there is this much counts as not delivered: it is
    /// kept longer.
    let deliveredMax = 100_000

    let unrecorded = ConcurrentQueue<struct (TaskId * int64)>()
    let delivering = List<struct (TaskId * int64)>()

    let execute sql = Schema.execute writing sql

    let rollBack () =
        try
            execute "ROLLBACK"
        with :? SqliteException ->
            () // some errors have rolled it back already

    let perform work =
        match work with
        | Append(at, first, events, _) ->
            for index in 0 .. events.Count - 1 do
                rows.Write(first + int64 index, at, events[index])

                match events[index] with
                | Event.Joined(session, name, _) -> names[session] <- name
                | _ -> ()

            retirement.Observe events
        | Change(change, _) -> change ()

    /// Whether the same would succeed later: the disk is full, or fails.
    let passes code =
        match code &&& 0xff with
        | 13 // SQLITE_FULL
        | 10 // SQLITE_IOERR
        | 14 // SQLITE_CANTOPEN
        | 8 // SQLITE_READONLY
        | 5 -> true // SQLITE_BUSY
        | _ -> false

    let tryCommit () : Result<unit, struct (int * string)> =
        let mark = retirement.Mark
        let mutable next = Unchecked.defaultof<_>

        while unrecorded.TryDequeue(&next) do
            delivering.Add next

        let undo code message =
            rollBack ()
            retirement.Restore mark
            Error(struct (code, message))

        try
            execute "BEGIN IMMEDIATE"

            // Before what may be about to forget them.
            for struct (task, at) in delivering do
                rows.WriteDelivered(task, at)

            Seq.iter perform batch
            execute "COMMIT"
            Ok()
        with
        | SqliteTrouble(code, message) -> undo code message
        | :? SqliteException as error -> undo error.SqliteExtendedErrorCode error.Message

    let finish (outcome: exn | null) =
        for work in batch do
            match work with
            | Append(_, _, _, over)
            | Change(_, over) ->
                match outcome with
                | null -> over.TrySetResult() |> ignore
                | error -> over.TrySetException error |> ignore

        batch.Clear()

    /// Set once nobody will come any more.
    let mutable isClosing = false

    /// Until the disk takes it; while the journal is being closed, once more. Nothing of what is given up then has been
    /// shown to anybody. An error that would come again ends the journal, and with it the scheduler.
    let rec commit isLast =
        match tryCommit () with
        | Ok() ->
            options.holdup.End place
            delivering.Clear()
            finish null
        | Error(struct (code, message)) when passes code && not isLast ->
            options.holdup.Begin(place, message)
            let isLast = Volatile.Read &isClosing
            Thread.Sleep JournalFile.betweenTries
            commit isLast
        | Error(struct (code, message)) ->
            raise (IOException $"{place} cannot be written: {message} (SQLite error {code})")

    let run () =
        let mutable failure: exn | null = null
        let mutable next = Unchecked.defaultof<Work>

        while isNull failure
              && work.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult() do
            while work.Reader.TryRead(&next) do
                batch.Add next

            try
                commit false
            with error ->
                failure <- error

        if not (isNull failure) then
            finish failure
            work.Writer.TryComplete failure |> ignore

            while work.Reader.TryRead(&next) do
                batch.Add next

            finish failure
        elif not unrecorded.IsEmpty then
            try
                commit true
            with :? IOException ->
                () // kept longer than it would have to be

    let thread = Thread(run, IsBackground = true, Name = "journal")
    do thread.Start()

    let post make : Task =
        let over = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

        if not (work.Writer.TryWrite(make over)) then
            over.TrySetException(IOException $"{place} is closed") |> ignore

        over.Task

    let change action : Task = post (fun over -> Change(action, over))

    let read (look: EventReader -> 'T) : 'T = lock reader (fun () -> look reader)

    let orMissing what value =
        match value with
        | ValueSome value -> value
        | ValueNone -> raise (IOException $"the journal has no {what}")

    /// The file.
    member _.Path = path

    /// For tests: does something in a transaction of its thread.
    member internal _.ChangeAsync(action: SqliteConnection -> unit) : Task =
        change (fun () -> action writing)

    /// For tests: the writing connection, for whoever is called by its thread.
    member internal _.Writing = writing

    interface IJournal with
        member _.AppendAsync(at, first, events) =
            let at = options.clock.DateOf(at).ToUnixTimeMilliseconds()
            ValueTask(post (fun over -> Append(at, first, events, over)))

        member _.ReadSubmission task =
            read (fun reader -> reader.Submission task |> orMissing $"task {task}")

        member _.ReadPayload number =
            read (fun reader -> reader.Payload number |> orMissing $"payload of event {number}")

    interface IRecovery with
        member _.Recover() =
            seq {
                use lean = new EventReader(nonNull reading.Handle, spool, true)
                yield! lean.Read(EventFilter.unfinished, toInstant)
            }

        member _.Highest = JournalFile.highest reading
        member _.Ended = JournalFile.ended reading
        member _.Files() = JournalFile.files reading

        member _.DonePipelines upTo =
            // It may take a while: nobody else waits for it.
            use own = JournalFile.openForReading path

            try
                JournalFile.donePipelines own upTo
            with :? SqliteException as error ->
                raise (IOException $"the journal {path} cannot be read: {error.Message}")

        member _.Unverified() =
            lock reader (fun () -> JournalFile.unverified reading)

        member _.Accepted() =
            lock reader (fun () -> JournalFile.accepted reading)

        member _.ForgetFile name =
            change (fun () -> JournalFile.forgetFile writing name)

        member _.SetFlushed number =
            change (fun () -> JournalFile.setFlushed writing number)

        member _.RetireAsync() =
            task {
                let mutable forgotten = { keys = [||]; spools = [||]; more = false }
                do! change (fun () -> forgotten <- retirement.Step())
                return forgotten
            }

    interface IResultOwners with
        member _.ResultOwners() =
            lock reader (fun () -> JournalFile.resultOwners reading)

        member _.RememberAsync owners =
            change (fun () -> JournalFile.rememberOwners writing owners)

    interface IDelivered with
        member _.Delivered task =
            if unrecorded.Count < deliveredMax then
                let at = options.clock.DateOf(options.clock.Now).ToUnixTimeMilliseconds()
                unrecorded.Enqueue(struct (task, at))

    interface IHistory with
        member _.EventsOf task =
            read (fun reader -> JournalFile.dated reader (EventFilter.ofTask task) 10_000)

        member _.EventsAfter(number, most) =
            read (fun reader ->
                let last = JournalFile.lastOf reading number most
                JournalFile.dated reader (EventFilter.between number last) most)

        member _.FinishedAfter(task, most) =
            lock reader (fun () -> FinishedTasks.after reading task most)

        member _.WorkerName session =
            match names.TryGetValue session with
            | true, name -> name
            | _ -> $"session {session}"

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                Volatile.Write(&isClosing, true)
                work.Writer.TryComplete() |> ignore
                do! Task.Run(fun () -> thread.Join())

                lock reader (fun () ->
                    (reader :> IDisposable).Dispose()
                    reading.Dispose())

                (rows :> IDisposable).Dispose()
                writing.Dispose()
            }
            |> ValueTask
