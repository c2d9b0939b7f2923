namespace FsScheduler.Simulation.Tests

open System
open System.Threading
open FsScheduler.Core

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

    let after (span: TimeSpan) action =
        timeline.After(int64 span.TotalMilliseconds * 1L<ms>, action)

    let rec ring (mine: int) (period: TimeSpan) () =
        if mine = setting then
            if period > TimeSpan.Zero then
                after period (ring mine period)

            callback.Invoke state

    interface ITimer with
        member _.Change(due, period) =
            setting <- setting + 1

            if due <> Timeout.InfiniteTimeSpan then
                after due (ring setting period)

            true

        member _.Dispose() = setting <- setting + 1

        member _.DisposeAsync() =
            setting <- setting + 1
            Tasks.ValueTask.CompletedTask
