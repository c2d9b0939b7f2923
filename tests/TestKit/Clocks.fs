namespace FsScheduler.TestKit

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks

/// Moments that a test decides; its timers are real ones.
type HandTime() =
    inherit TimeProvider()
    let mutable ticks = 0L

    member _.Advance(span: TimeSpan) =
        Interlocked.Add(&ticks, span.Ticks) |> ignore

    override _.TimestampFrequency = TimeSpan.TicksPerSecond
    override _.GetTimestamp() = Volatile.Read &ticks

type private ManualTimer(clock: ManualClock, callback: TimerCallback, state: objnull) =
    member val Due = Int64.MaxValue with get, set
    member _.Fire() = callback.Invoke state

    interface ITimer with
        member timer.Change(dueTime, _) =
            clock.Schedule(timer, dueTime)
            true

        member timer.Dispose() = clock.Cancel timer

        member timer.DisposeAsync() =
            clock.Cancel timer
            ValueTask.CompletedTask

/// A clock that stands still until it is told to go on.
and ManualClock() =
    inherit TimeProvider()
    let start = DateTimeOffset.UtcNow
    let timers = List<ManualTimer>()
    let mutable ticks = 0L

    let mutable asleep =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    member internal _.Schedule(timer: obj, dueTime: TimeSpan) =
        let timer = timer :?> ManualTimer

        lock timers (fun () ->
            timers.Remove timer |> ignore

            if dueTime <> Timeout.InfiniteTimeSpan then
                timer.Due <- ticks + dueTime.Ticks
                timers.Add timer
                asleep.TrySetResult() |> ignore)

    member internal _.Cancel(timer: obj) =
        lock timers (fun () ->
            timers.Remove(timer :?> ManualTimer) |> ignore

            if timers.Count = 0 && asleep.Task.IsCompleted then
                asleep <- TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously))

    override _.TimestampFrequency = TimeSpan.TicksPerSecond
    override _.GetTimestamp() = lock timers (fun () -> ticks)
    override clock.GetUtcNow() = start.AddTicks(clock.GetTimestamp())

    override clock.CreateTimer(callback, state, dueTime, _) =
        let timer = new ManualTimer(clock, callback, state)
        clock.Schedule(timer, dueTime)
        timer

    /// Ends when somebody waits for the clock: what was to be done until now is done.
    member _.Asleep() : Task =
        ended (lock timers (fun () -> asleep.Task))

    /// Goes on by `ms`, once somebody waits for the clock, and ends when somebody does again.
    member clock.Advance(ms: int) : Task =
        task {
            let mutable due: ManualTimer[] voption = ValueNone

            while due.IsNone do
                do! clock.Asleep()

                lock timers (fun () ->
                    // Whoever slept may just have woken up; going on now would let it oversleep.
                    if timers.Count > 0 then
                        ticks <- ticks + int64 ms * TimeSpan.TicksPerMillisecond
                        let fired = timers.FindAll(fun timer -> timer.Due <= ticks).ToArray()
                        due <- ValueSome fired)

            for timer in due.Value do
                clock.Cancel timer
                timer.Fire()

            do! clock.Asleep()
        }
