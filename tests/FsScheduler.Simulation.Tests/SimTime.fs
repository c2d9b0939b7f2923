namespace FsScheduler.Simulation.Tests

open System
open System.Collections.Generic
open System.Threading

/// Virtual time: it passes when it is told to, and then its timers ring, in order.
[<Sealed>]
type SimTime() =
    inherit TimeProvider()
    let timers = List<SimTimer>()
    let mutable ticks = 0L

    member _.Ticks = ticks
    member internal _.Add(timer: SimTimer) = timers.Add timer
    member internal _.Remove(timer: SimTimer) = timers.Remove timer |> ignore

    /// No timer rings any more: those who have set them are gone.
    member _.Forget() = timers.Clear()

    /// When the next timer rings; none: there is none.
    member _.NextRing: TimeSpan voption =
        if timers.Count = 0 then
            ValueNone
        else
            ValueSome(TimeSpan.FromTicks((timers |> Seq.map _.Due |> Seq.min) - ticks))

    member time.Advance(span: TimeSpan) =
        let until = ticks + span.Ticks
        let mutable goOn = true

        while goOn do
            match timers |> Seq.filter (fun timer -> timer.Due <= until) |> Seq.toArray with
            | [||] -> goOn <- false
            | due ->
                let next = due |> Array.minBy _.Due
                ticks <- max ticks next.Due
                next.Ring()

        ticks <- until

    override _.TimestampFrequency = TimeSpan.TicksPerSecond
    override _.GetTimestamp() = ticks
    override _.GetUtcNow() = DateTimeOffset.UnixEpoch.AddTicks ticks

    override time.CreateTimer(callback, state, due, period) =
        let timer = new SimTimer(time, callback, state)
        timer.Set(due, period)
        timer

/// One timer of it.
and [<Sealed>] SimTimer(time: SimTime, callback: TimerCallback, state: obj | null) =
    let mutable period = Timeout.InfiniteTimeSpan
    member val Due = 0L with get, set

    member timer.Set(due: TimeSpan, every: TimeSpan) =
        time.Remove timer
        period <- every

        if due <> Timeout.InfiniteTimeSpan then
            timer.Due <- time.Ticks + due.Ticks
            time.Add timer

    member timer.Ring() =
        if period = Timeout.InfiniteTimeSpan || period = TimeSpan.Zero then
            time.Remove timer
        else
            timer.Due <- timer.Due + period.Ticks

        callback.Invoke state

    interface ITimer with
        member timer.Change(due, every) =
            timer.Set(due, every)
            true

        member timer.Dispose() = time.Remove timer

        member timer.DisposeAsync() =
            time.Remove timer
            Tasks.ValueTask.CompletedTask
