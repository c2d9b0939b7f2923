namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Folders

/// How often maintenance runs, and how much it does at a time.
type MaintenancePace = {
    /// Between two checks of the size of the journal.
    look: TimeSpan
    /// Between two runs of everything else.
    period: TimeSpan
    retention: RetentionPace
} with

    static member Usual = {
        look = TimeSpan.FromSeconds 1.0
        period = TimeSpan.FromSeconds 10.0
        retention = RetentionPace.Usual
    }

/// Maintenance of other parts.
type MaintenanceHooks = {
    /// Called once the decisions of the start are durable.
    started: unit -> unit
    /// Deletes the results of workers that no attempt waits for.
    sweep: CancellationToken -> Task
    /// Returns unused memory to the system. May take long.
    trim: unit -> unit
}

/// <summary>Flushes results, so that a restart need not check them, drops old events, and returns memory.</summary>
/// <param name="journal">Old events are dropped.</param>
/// <param name="retention">The limits of the journal.</param>
/// <param name="pace">How often.</param>
/// <param name="mailbox">Takes inputs of the machine.</param>
/// <param name="results">The folder of results.</param>
/// <param name="owners">The owners of the names of results.</param>
/// <param name="remember">Records the owner of a name; completes when that is durable.</param>
/// <param name="flush">Flushes results, by their paths; raises IOException where the disk fails.</param>
/// <param name="around">Maintenance of other parts.</param>
/// <param name="clock">Measures the periods.</param>
/// <param name="log">Told of results that are not flushed.</param>
[<Sealed>]
type Maintenance
    (
        journal: IJournal,
        retention: Retention,
        pace: MaintenancePace,
        mailbox: IMailbox,
        results: IResultFolder,
        owners: ResultOwners,
        remember: ResultOwner -> Task,
        flush: string seq -> unit,
        around: MaintenanceHooks,
        clock: Clock,
        log: ILogger
    ) =
    let mutable seen = 0L
    let mutable carried = 0L
    let mutable trimmed = 0L

    /// Names whose owners are to be checked, some in each period.
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

    /// Forgets the owners of names whose results were taken away.
    let forgetOwners () : Task =
        task {
            if names.Count = 0 then
                for struct (name, _) in owners.All do
                    names.Enqueue name

            let remembering = List<Task>()
            let mutable left = namesMax

            while left > 0 && names.Count > 0 do
                left <- left - 1
                remembering.Add(owners.ForgetAsync(names.Dequeue(), remember))

            for remembered in remembering do
                do! remembered
        }

    /// Has the machine carry over needed old events, until the old ones are dropped or the machine has to wait.
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

    /// Drops events beyond the limits.
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

    /// Returns the memory of a burst to the system once nothing has happened for a period: otherwise a million waiting
    /// tasks take two to three times their size.
    let trim (ct: CancellationToken) : Task =
        task {
            let! number = mailbox.QueryAsync(_.LastEvent, ct)

            if number = seen && number <> trimmed then
                trimmed <- number
                around.trim ()

            seen <- number
        }

    /// <summary>Flushes published results and records that: a restart checks later results only.</summary>
    member _.CheckpointAsync(ct: CancellationToken) : Task =
        task {
            // The answer comes once all events up to the number are durable: their results have their names.
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
                    log.LogWarning(
                        "results could not be flushed: {Reason}; tried again at the next checkpoint",
                        error.Message
                    )
        }

    /// <summary>Keeps the journal within its limits until it is stopped.</summary>
    /// <param name="ct">Stops it.</param>
    member _.RetainAsync(ct: CancellationToken) : Task = every pace.look retain ct

    /// <summary>Does all other maintenance until it is stopped.</summary>
    /// <param name="ct">Stops it.</param>
    member maintenance.TidyAsync(ct: CancellationToken) : Task =
        let tidy (ct: CancellationToken) : Task =
            task {
                do! maintenance.CheckpointAsync ct
                do! forgetOwners ()
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
