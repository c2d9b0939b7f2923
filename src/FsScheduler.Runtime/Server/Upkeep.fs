namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// <summary>What is done with the journal from time to time: results are flushed, so that a restart need not look at
/// them, what is old is forgotten, and memory that is not needed is given back.</summary>
[<Sealed>]
type Upkeep
    (
        recovery: IRecovery,
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
    let mutable flushed = 0L
    let mutable seen = 0L
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

    let rec retire (ct: CancellationToken) : Task =
        task {
            let! forgotten = recovery.RetireAsync().WaitAsync ct

            if forgotten.keys.Length > 0 then
                do! agent.PostAsync([| Input.Forget forgotten.keys |], CancellationToken.None)
                // What was answered with them before is on its way.
                do! agent.LookAsync(ignore).WaitAsync ct

            for path in forgotten.spools do
                SpoolFile.delete path

            if forgotten.more then
                do! retire ct
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

    /// <summary>Flushes the results that there are, and has the journal remember that.</summary>
    member _.CheckpointAsync(ct: CancellationToken) : Task =
        task {
            // The answer comes once all up to that event is durable: its results have their names.
            let! number = agent.LookAsync(_.LastEvent).WaitAsync ct

            if sync <> Sync.Off && number > flushed then
                try
                    Flush.all publisher.Path [
                        for result in recovery.Unverified() do
                            match TaskName.parse result.name with
                            | Ok name -> publisher.TargetOf(owners.Find(OfFile name, name))
                            | Error _ -> ()
                    ]

                    do! recovery.SetFlushed(number).WaitAsync ct
                    flushed <- number
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
                    do! retire ct
                    do! forgetOwners().WaitAsync ct
                    do! sharing.SweepAsync ct
                    do! trim ct
            with :? OperationCanceledException ->
                ()
        }
