namespace FsScheduler.Simulation.Tests

open System
open System.Threading

/// The time of a timeline, for those who set timers.
[<Sealed>]
type TimelineTime(timeline: Timeline) =
    inherit TimeProvider()
    override _.TimestampFrequency = 1_000L
    override _.GetTimestamp() = int64 timeline.Now.sinceStart

    override time.GetUtcNow() =
        DateTimeOffset.UnixEpoch.AddMilliseconds(float (time.GetTimestamp()))

    override _.CreateTimer(callback, state, due, period) =
        let timer = new TimelineTimer(timeline, callback, state)
        (timer :> ITimer).Change(due, period) |> ignore
        timer

/// One timer of it.
and [<Sealed>] TimelineTimer(timeline: Timeline, callback: TimerCallback, state: obj | null) =
    /// What was set before counts no more.
    let mutable setting = 0

    let rec ring (mine: int) (period: TimeSpan) () =
        if mine = setting then
            if period > TimeSpan.Zero then
                timeline.After(
                    int64 period.TotalMilliseconds * 1L<FsScheduler.Core.ms>,
                    ring mine period
                )

            callback.Invoke state

    interface ITimer with
        member _.Change(due, period) =
            setting <- setting + 1

            if due <> Timeout.InfiniteTimeSpan then
                timeline.After(
                    int64 due.TotalMilliseconds * 1L<FsScheduler.Core.ms>,
                    ring setting period
                )

            true

        member _.Dispose() = setting <- setting + 1

        member _.DisposeAsync() =
            setting <- setting + 1
            Tasks.ValueTask.CompletedTask

/// <summary>Runs a loop of `task { }` on a timeline: whenever it may go on, it does so some time later.</summary>
/// <param name="scene">Has the timeline.</param>
/// <param name="latest">How much later, at the most.</param>
[<Sealed>]
type TimelineRunner(scene: Scene, latest: FsScheduler.Core.Duration) =
    inherit SynchronizationContext()
    let thread = Environment.CurrentManagedThreadId
    let mutable astray = false

    /// Does something in this context: what it awaits comes back here.
    member runner.Within(action: unit -> 'result) : 'result =
        let before = SynchronizationContext.Current
        SynchronizationContext.SetSynchronizationContext runner

        try
            action ()
        finally
            SynchronizationContext.SetSynchronizationContext before

    /// A continuation was posted by another thread: what follows is not the seed's doing.
    member _.IsAstray = astray

    override runner.Post(callback, state) =
        if Environment.CurrentManagedThreadId = thread then
            scene.timeline.After(
                scene.chance.Time(0L<FsScheduler.Core.ms>, latest),
                fun () -> runner.Within(fun () -> callback.Invoke state)
            )
        else
            astray <- true

    override _.Send(_, _) = raise (NotSupportedException())
    override runner.CreateCopy() = runner
