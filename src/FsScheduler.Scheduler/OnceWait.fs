namespace FsScheduler.Scheduler

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Server

/// <summary>The wait of `--once` until everything is done, for at most `--once-timeout`.</summary>
/// <param name="server">The scheduler.</param>
/// <param name="limit">The time limit; None: no limit.</param>
/// <param name="log">The log for what is left.</param>
[<Sealed>]
type OnceWait(server: SchedulerServer, limit: Duration option, log: ILogger) =
    static let checkEvery = TimeSpan.FromSeconds 10.0
    static let logEvery = TimeSpan.FromSeconds 60.0
    let mutable hasRunOut = false

    /// Logs what is left when no task was finished for a while, at most once a minute.
    let logWhatIsLeft (ct: CancellationToken) : Task =
        task {
            let mutable finished = -1L
            let mutable loggedAt = DateTimeOffset.MinValue

            while not ct.IsCancellationRequested do
                do! Task.Delay(checkEvery, ct)
                let! status = server.StatusAsync()
                let now = DateTimeOffset.UtcNow

                if status.finished = finished && now - loggedAt >= logEvery then
                    let! left = server.LeftAsync()
                    loggedAt <- now
                    log.LogInformation("--once waits for {Left}", left)

                finished <- status.finished
        }

    let stop (limit: Duration) =
        task {
            let! left = server.LeftAsync()
            Volatile.Write(&hasRunOut, true)

            log.LogError(
                "--once-timeout: {Milliseconds} ms are over, and not everything is done: {Left}. The next run does the rest",
                int64 limit,
                left
            )
        }

    /// Whether the time was over before everything was done.
    member _.HasRunOut = Volatile.Read &hasRunOut

    /// Ends when everything is done, or the time is over.
    member _.RunAsync(ct: CancellationToken) : Task =
        task {
            use over = CancellationTokenSource.CreateLinkedTokenSource ct
            let whole = server.WaitUntilDoneAsync ct
            let logging = logWhatIsLeft over.Token

            let time =
                match limit with
                | Some limit -> Task.Delay(TimeSpan.FromMilliseconds(float limit), over.Token)
                | None -> Task.Delay(Timeout.Infinite, over.Token)

            let! first = Task.WhenAny(whole :> Task, time)
            over.Cancel()

            do! logging.ConfigureAwait ConfigureAwaitOptions.SuppressThrowing

            match limit with
            | Some limit when
                not (obj.ReferenceEquals(first, whole)) && not ct.IsCancellationRequested
                ->
                do! stop limit
            | _ ->
                let! _ = whole
                ()
        }
