namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Runtime.Files

/// <summary>What is done with the journal from time to time: results are flushed, so that a restart need not look at
/// them, what is old is forgotten, and memory that is not needed is given back.</summary>
[<Sealed>]
type Upkeep
    (
        journal: Journal,
        retention: Retention,
        agent: SchedulerAgent,
        publisher: Publisher,
        owners: ResultOwners,
        remember: ResultOwner[] -> Task,
        sharing: Sharing,
        sync: Sync,
        clock: Clock,
        log: ILogger
    ) =
    let period = TimeSpan.FromSeconds 10.0
    let mutable seen = 0L
    let mutable carried = 0L
    let mutable trimmed = 0L

    /// Names whose owners are remembered, to be looked at again; so many in a period.
    let names = Queue<TaskName>()
    let namesMax = 1_000

    /// What was fetched is nobody's any more.
    let forgetOwners () : Task =
        task {
            if names.Count = 0 then
                for struct (name, _) in owners.All do
                    names.Enqueue name

            let remembering = List<Task>()
            let mutable left = namesMax

            while left > 0 && names.Count > 0 do
                left <- left - 1
                owners.Forget(names.Dequeue(), fun gone -> remembering.Add(remember [| gone |]))

            do! Task.WhenAll remembering
        }

    /// Has the machine carry what is needed of old events, a part a turn, until they are dropped; or until it has to wait for
    /// something.
    let carry (cutoff: Cutoff) (ct: CancellationToken) : Task =
        task {
            let! first = agent.LookAsync(_.LastEvent).WaitAsync ct
            let mutable last = first
            let mutable goOn = true

            while goOn do
                do! agent.PostAsync([| Input.Retain cutoff |], ct)
                let! now = agent.LookAsync(_.LastEvent).WaitAsync ct
                let! isRetaining = agent.LookAsync(_.IsRetaining).WaitAsync ct
                goOn <- isRetaining && now > last
                last <- now

            let! count = agent.LookAsync(_.Carried).WaitAsync ct
            carried <- count
        }

    /// Drops what is old, or too much.
    let retain (ct: CancellationToken) : Task =
        task {
            let! struct (kept, flushedUpTo) =
                agent
                    .LookAsync(fun scheduler ->
                        let flushed =
                            if scheduler.Unflushed.Length = 0 then
                                ValueNone
                            else
                                ValueSome scheduler.FlushedUpTo

                        struct (scheduler.KeptBytes, flushed))
                    .WaitAsync
                    ct

            let usage = { kept = kept; carried = carried; flushedUpTo = flushedUpTo }
            let sizeFor keep since = journal.Size(keep, since)

            match RetentionPolicy.choose retention usage clock.Now sizeFor with
            | ValueSome cutoff -> do! carry cutoff ct
            | ValueNone -> ()
        }

    /// What a burst has left of memory goes back to the system, once nothing has happened for a period: else a million
    /// tasks that wait take two to three times what they are.
    let trim (ct: CancellationToken) : Task =
        task {
            let! number = agent.LookAsync(_.LastEvent).WaitAsync ct

            if number = seen && number <> trimmed then
                trimmed <- number
                GC.Collect(2, GCCollectionMode.Aggressive, true, true)

            seen <- number
        }

    /// <summary>Flushes the results that there are, and has the journal remember that: a restart looks at what came later
    /// only.</summary>
    member _.CheckpointAsync(ct: CancellationToken) : Task =
        task {
            // The answer comes once all up to that event is durable: its results have their names.
            let! struct (number, unflushed) =
                agent
                    .LookAsync(fun scheduler -> struct (scheduler.LastEvent, scheduler.Unflushed))
                    .WaitAsync
                    ct

            if unflushed.Length > 0 then
                try
                    if sync <> Sync.Off then
                        Flush.all publisher.Path [
                            for struct (file, _) in unflushed do
                                match TaskName.parse file with
                                | Ok name -> publisher.TargetOf(owners.Find(OfFile name, name))
                                | Error _ -> ()
                        ]

                    do! agent.PostAsync([| Input.Note [| Note.Flushed number |] |], ct)
                with :? IOException as error ->
                    log.LogWarning("the results are not flushed: {Reason}", error.Message)
        }

    /// <summary>Works until it is stopped.</summary>
    /// <param name="started">Called once what the start decided is durable.</param>
    /// <param name="ct">Stops it.</param>
    member upkeep.RunAsync(started: unit -> unit, ct: CancellationToken) : Task =
        task {
            use timer = new PeriodicTimer(period, clock.Provider)
            let mutable isStarted = false

            try
                while not ct.IsCancellationRequested do
                    if not isStarted then
                        do! agent.LookAsync(ignore).WaitAsync ct
                        started ()
                        isStarted <- true
                        do! sharing.SweepAsync ct

                    let! _ = timer.WaitForNextTickAsync ct
                    do! upkeep.CheckpointAsync ct
                    do! retain ct
                    do! forgetOwners().WaitAsync ct
                    do! sharing.SweepAsync ct
                    do! trim ct
            with :? OperationCanceledException ->
                ()
        }
