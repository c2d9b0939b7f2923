namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Folders

/// How often things are done, and how much at a time.
type UpkeepPace = {
    /// Between two looks at what the journal takes.
    look: TimeSpan
    /// Between two times of all else.
    period: TimeSpan
    retention: RetentionPace
} with

    static member Usual = {
        look = TimeSpan.FromSeconds 1.0
        period = TimeSpan.FromSeconds 10.0
        retention = RetentionPace.Usual
    }

/// What belongs to others, and is done with the rest.
type UpkeepAround = {
    /// Called once what the start decided is durable.
    started: unit -> unit
    /// Deletes what workers have left that nobody waits for.
    sweep: CancellationToken -> Task
    /// Gives memory back that is not needed. It may take long.
    trim: unit -> unit
}

/// <summary>What is done with the journal from time to time: results are flushed, so that a restart need not look at
/// them, what is old is forgotten, and memory that is not needed is given back.</summary>
/// <param name="journal">What is old is dropped of it.</param>
/// <param name="retention">How long the past is remembered.</param>
/// <param name="pace">How often.</param>
/// <param name="mailbox">Takes what the machine is to be told.</param>
/// <param name="results">The folder of results.</param>
/// <param name="owners">Whose results have which names there.</param>
/// <param name="flush">Brings results to the device, by their paths; raises IOException where the disk says no.</param>
/// <param name="around">What is done with the rest.</param>
/// <param name="clock">Measures the periods.</param>
/// <param name="log">For what is not flushed.</param>
[<Sealed>]
type Maintenance
    (
        journal: IJournal,
        retention: Retention,
        pace: UpkeepPace,
        mailbox: IMailbox,
        results: IResultFolder,
        owners: ResultOwners,
        flush: string seq -> unit,
        around: UpkeepAround,
        clock: Clock,
        log: ILogger
    ) =
    let mutable seen = 0L
    let mutable carried = 0L
    let mutable trimmed = 0L

    /// Names whose owners are remembered, to be looked at again; so many in a period.
    let names = Queue<TaskName>()
    let namesMax = 1_000

    let every (span: TimeSpan) (work: CancellationToken -> Task) (ct: CancellationToken) : Task =
        task {
            use timer = new PeriodicTimer(span, clock.Provider)

            try
                while not ct.IsCancellationRequested do
                    let! _ = timer.WaitForNextTickAsync ct
                    do! work ct
            with :? OperationCanceledException ->
                ()
        }

    /// What was fetched is nobody's any more.
    let forgetOwners (ct: CancellationToken) : Task =
        task {
            if names.Count = 0 then
                for struct (name, _) in owners.All do
                    names.Enqueue name

            let remembering = List<Task>()
            let mutable left = namesMax

            while left > 0 && names.Count > 0 do
                left <- left - 1

                owners.Forget(
                    names.Dequeue(),
                    fun gone ->
                        let note = Input.Note [| Note.Owner(gone.name, gone.owner) |]
                        remembering.Add(mailbox.PostAsync([| note |], ct))
                )

            for posted in remembering do
                do! posted
        }

    /// Has the machine carry what is needed of old events, a part a turn, until they are dropped; or until it has to wait for
    /// something.
    let carry (cutoff: Cutoff) (ct: CancellationToken) : Task =
        task {
            let! first = mailbox.QueryAsync(_.LastEvent, ct)
            let mutable last = first
            let mutable goOn = true

            while goOn do
                do! mailbox.PostAsync([| Input.Retain cutoff |], ct)

                let! struct (now, isRetaining, count) =
                    mailbox.QueryAsync(
                        (fun scheduler ->
                            struct (scheduler.LastEvent, scheduler.IsRetaining, scheduler.Carried)),
                        ct
                    )

                goOn <- isRetaining && now > last
                last <- now
                carried <- count
        }

    /// Drops what is old, or too much.
    let retain (ct: CancellationToken) : Task =
        task {
            let! struct (kept, flushedUpTo) =
                mailbox.QueryAsync(
                    (fun scheduler -> struct (scheduler.KeptBytes, scheduler.FlushedUpTo)),
                    ct
                )

            let usage = { kept = kept; carried = carried; flushedUpTo = flushedUpTo }
            let sizeFor keep since = journal.Size(keep, since)

            match RetentionPolicy.choose retention pace.retention usage clock.Now sizeFor with
            | ValueSome cutoff -> do! carry cutoff ct
            | ValueNone -> ()
        }

    /// What a burst has left of memory goes back to the system, once nothing has happened for a period: else a million
    /// tasks that wait take two to three times what they are.
    let trim (ct: CancellationToken) : Task =
        task {
            let! number = mailbox.QueryAsync(_.LastEvent, ct)

            if number = seen && number <> trimmed then
                trimmed <- number
                around.trim ()

            seen <- number
        }

    /// <summary>Flushes the results that there are, and has the journal remember that: a restart looks at what came later
    /// only.</summary>
    member _.CheckpointAsync(ct: CancellationToken) : Task =
        task {
            // The answer comes once all up to that event is durable: its results have their names.
            let! struct (number, unflushed) =
                mailbox.QueryAsync(
                    (fun scheduler -> struct (scheduler.LastEvent, scheduler.Unflushed)),
                    ct
                )

            if unflushed.Length > 0 then
                try
                    flush [
                        for struct (file, _) in unflushed do
                            match TaskName.parse file with
                            | Ok name -> results.TargetOf(owners.Find(OfFile name, name))
                            | Error _ -> ()
                    ]

                    do! mailbox.PostAsync([| Input.Note [| Note.Flushed number |] |], ct)
                with :? IOException as error ->
                    log.LogWarning("the results are not flushed: {Reason}", error.Message)
        }

    /// <summary>Keeps the journal within its bounds until it is stopped.</summary>
    /// <param name="ct">Stops it.</param>
    member _.RetainAsync(ct: CancellationToken) : Task = every pace.look retain ct

    /// <summary>Does all else until it is stopped.</summary>
    /// <param name="ct">Stops it.</param>
    member upkeep.TidyAsync(ct: CancellationToken) : Task =
        let tidy (ct: CancellationToken) : Task =
            task {
                do! upkeep.CheckpointAsync ct
                do! forgetOwners ct
                do! around.sweep ct
                do! trim ct
            }

        task {
            try
                do! mailbox.QueryAsync(ignore, ct)
                around.started ()
                do! around.sweep ct
                do! every pace.period tidy ct
            with :? OperationCanceledException ->
                ()
        }
