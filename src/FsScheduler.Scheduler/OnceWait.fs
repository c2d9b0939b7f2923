namespace FsScheduler.Scheduler

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Server

/// <summary>The wait of `--once` until everything is done, and no longer than `--once-timeout`.</summary>
/// <param name="server">Knows what is left.</param>
/// <param name="limit">None: as long as it takes.</param>
/// <param name="log">Told what is left when the time is over.</param>
[<Sealed>]
type OnceWait(server: SchedulerServer, limit: Duration option, log: ILogger) =
    static let lookEvery = TimeSpan.FromSeconds 10.0
    static let sayEvery = TimeSpan.FromSeconds 60.0
    let mutable hasRunOut = false

    /// When nothing has become done for a while, a line says what is left; not again at once.
    let sayWhatIsLeft (ct: CancellationToken) : Task =
        task {
            let mutable finished = -1L
            let mutable said = DateTimeOffset.MinValue

            while not ct.IsCancellationRequested do
                do! Task.Delay(lookEvery, ct)
                let! status = server.StatusAsync()
                let now = DateTimeOffset.UtcNow

                if status.finished = finished && now - said >= sayEvery then
                    let! left = server.LeftAsync()
                    said <- now
                    log.LogInformation("--once waits for {Left}", left)

                finished <- status.finished
        }

    let stop (limit: Duration) =
        task {
            let! left = server.LeftAsync()
            Volatile.Write(&hasRunOut, true)

            log.LogError(
                "--once-timeout: {Milliseconds} ms are over, and not everything is done: {Left}. What is left is done by the next run",
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
            let saying = sayWhatIsLeft over.Token

            let time =
                match limit with
                | Some limit -> Task.Delay(TimeSpan.FromMilliseconds(float limit), over.Token)
                | None -> Task.Delay(Timeout.Infinite, over.Token)

            let! first = Task.WhenAny(whole :> Task, time)
            over.Cancel()

            // What it would have said matters no more.
            do! saying.ConfigureAwait ConfigureAwaitOptions.SuppressThrowing

            match limit with
            | Some limit when
                not (obj.ReferenceEquals(first, whole)) && not ct.IsCancellationRequested
                ->
                do! stop limit
            | _ ->
                let! _ = whole
                ()
        }
