namespace FsScheduler.Cli

open System
open System.Collections.Generic
open System.Diagnostics
open System.Threading

/// A line that waits, and the number of lines that are lost if it cannot be written.
[<Struct>]
type private WaitingLine = { bytes: byte[]; count: int64 }

/// <summary>Lines for a reader that may not be reading. Adding a line never waits: another thread writes, and lines
/// beyond the bounds are dropped and counted; a line with the count follows once there is room again.</summary>
/// <param name="write">Writes a line, however long that takes. False: the line could not be written.</param>
/// <param name="linesMax">The most lines that wait, apart from the count of dropped lines.</param>
/// <param name="bytesMax">The most bytes that wait.</param>
/// <param name="dropped">The line with a number of dropped lines; empty: no such line is written.</param>
[<Sealed>]
type LineQueue(write: byte[] -> bool, linesMax: int, bytesMax: int64, dropped: int64 -> byte[]) =
    let syncRoot = obj ()
    let lines = Queue<WaitingLine>()
    let mutable bytes = 0L
    let mutable lost = 0L
    let mutable isWriting = false
    // From a full queue until half of the lines are written: a slow reader would otherwise get a count after each line.
    let mutable isFull = false

    let put (line: byte[]) (count: int64) =
        lines.Enqueue { bytes = line; count = count }
        bytes <- bytes + int64 line.Length

    /// Under the lock: adds the line with the count of dropped lines, if any, at its place among the others.
    let putLost () =
        if lost > 0L then
            let line = dropped lost

            if line.Length > 0 then
                put line lost

            lost <- 0L

    let take () =
        let line = lines.Dequeue()
        bytes <- bytes - int64 line.bytes.Length

        if lines.Count <= linesMax / 2 && bytes <= bytesMax / 2L then
            isFull <- false

        line

    /// Reports the outcome of the last line, and waits for the next one.
    let next (last: WaitingLine voption) : WaitingLine =
        lock syncRoot (fun () ->
            isWriting <- false

            match last with
            // The count is written before the next line that is added: writing has just failed.
            | ValueSome failed -> lost <- lost + failed.count
            | ValueNone when lines.Count = 0 -> putLost ()
            | ValueNone -> ()

            Monitor.PulseAll syncRoot

            while lines.Count = 0 do
                Monitor.Wait syncRoot |> ignore

            isWriting <- true
            take ())

    do
        let work () =
            let mutable failed = ValueNone

            while true do
                let line = next failed
                failed <- if write line.bytes then ValueNone else ValueSome line

        // A background thread: a reader that never reads must not delay the end of the process.
        Thread(work, IsBackground = true, Name = "lines").Start()

    /// Adds a line, or drops it.
    member _.Add(line: byte[]) =
        lock syncRoot (fun () ->
            if lines.Count >= linesMax || bytes + int64 line.Length > bytesMax then
                isFull <- true

            if isFull then
                lost <- lost + 1L
            else
                putLost ()
                put line 1L
                Monitor.PulseAll syncRoot)

    /// <summary>Waits until all lines are written.</summary>
    /// <param name="atMost">The longest wait; later lines are left to the thread.</param>
    /// <returns>Whether all lines are written.</returns>
    member _.Drain(atMost: TimeSpan) : bool =
        let started = Stopwatch.StartNew()

        lock syncRoot (fun () ->
            let isBusy () = lines.Count > 0 || isWriting
            let mutable left = atMost

            while isBusy () && left > TimeSpan.Zero do
                Monitor.Wait(syncRoot, left) |> ignore
                left <- atMost - started.Elapsed

            not (isBusy ()))
