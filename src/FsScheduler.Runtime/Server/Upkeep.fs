namespace FsScheduler.Runtime

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// <summary>What is done with the journal from time to time: results are flushed, so that a restart need not look at
/// them, and what is old is forgotten.</summary>
[<Sealed>]
type Upkeep
    (
        recovery: IRecovery,
        agent: SchedulerAgent,
        publisher: Publisher,
        sync: Sync,
        clock: Clock,
        log: ILogger
    ) =
    let period = TimeSpan.FromSeconds 10.0
    let mutable flushed = 0L

    let rec retire () : Task =
        task {
            let! forgotten = recovery.RetireAsync()

            if forgotten.keys.Length > 0 then
                do! agent.PostAsync([| Input.Forget forgotten.keys |], CancellationToken.None)
                // What was answered with them before is on its way.
                do! agent.LookAsync ignore

            for path in forgotten.spools do
                SpoolFile.delete path

            if forgotten.more then
                do! retire ()
        }

    /// <summary>Flushes the results that there are, and has the journal remember that.</summary>
    member _.CheckpointAsync() : Task =
        task {
            // The answer comes once all up to that event is durable: its results have their names.
            let! number = agent.LookAsync _.LastEvent

            if sync <> Sync.Off && number > flushed then
                try
                    Flush.all publisher.Path [
                        for result in recovery.Unverified() do
                            match TaskName.parse result.name with
                            | Ok name -> publisher.TargetOf name
                            | Error _ -> ()
                    ]

                    do! recovery.SetFlushed number
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

            try
                do! agent.LookAsync ignore
                started ()

                while not ct.IsCancellationRequested do
                    let! _ = timer.WaitForNextTickAsync ct
                    do! upkeep.CheckpointAsync()
                    do! retire ()
            with
            | :? OperationCanceledException -> ()
            | :? TimeoutException -> () // the agent is held up, and so is this
        }
