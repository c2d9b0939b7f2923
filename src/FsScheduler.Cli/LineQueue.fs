namespace FsScheduler.Cli

open System
open System.Collections.Generic
open System.Diagnostics
open System.Threading

/// A line that waits, and how many lines are lost with it.
[<Struct>]
type private WaitingLine = { bytes: byte[]; stands: int64 }

/// <summary>Lines on their way to a reader who may not be reading. Who adds one never waits: a thread of its own does the
/// writing, and what it cannot get rid of is dropped, counted, and said when there is room again.</summary>
/// <param name="write">Writes a line, for as long as that takes. False: it could not.</param>
/// <param name="linesMax">How many wait at the most, give or take the one that says how many were dropped.</param>
/// <param name="bytesMax">How many bytes wait at the most.</param>
/// <param name="dropped">The line that says how many were dropped; empty where nobody is told.</param>
[<Sealed>]
type LineQueue(write: byte[] -> bool, linesMax: int, bytesMax: int64, dropped: int64 -> byte[]) =
    let gate = obj ()
    let lines = Queue<WaitingLine>()
    let mutable bytes = 0L
    let mutable lost = 0L
    let mutable isWriting = false
    // Until half of it has gone out: else a slow reader would read of one dropped line after each other one.
    let mutable isFull = false

    let put (line: byte[]) (stands: int64) =
        lines.Enqueue { bytes = line; stands = stands }
        bytes <- bytes + int64 line.Length

    /// Only inside the gate: what was dropped is said at its place among the others.
    let sayLost () =
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

    /// Tells how the last one went, and waits for the next one.
    let next (last: WaitingLine voption) : WaitingLine =
        lock gate (fun () ->
            isWriting <- false

            match last with
            // Said before the next line that is added: this is no time to write more.
            | ValueSome failed -> lost <- lost + failed.stands
            | ValueNone when lines.Count = 0 -> sayLost ()
            | ValueNone -> ()

            Monitor.PulseAll gate

            while lines.Count = 0 do
                Monitor.Wait gate |> ignore

            isWriting <- true
            take ())

    do
        let work () =
            let mutable failed = ValueNone

            while true do
                let line = next failed
                failed <- if write line.bytes then ValueNone else ValueSome line

        // In the background: a reader that never comes does not hold up the end of the process.
        Thread(work, IsBackground = true, Name = "lines").Start()

    /// Adds a line, or drops it.
    member _.Add(line: byte[]) =
        lock gate (fun () ->
            if lines.Count >= linesMax || bytes + int64 line.Length > bytesMax then
                isFull <- true

            if isFull then
                lost <- lost + 1L
            else
                sayLost ()
                put line 1L
                Monitor.PulseAll gate)

    /// <summary>Waits until all is written.</summary>
    /// <param name="atMost">How long; what is still there then is left to the thread.</param>
    /// <returns>Whether all is.</returns>
    member _.Drain(atMost: TimeSpan) : bool =
        let started = Stopwatch.StartNew()

        lock gate (fun () ->
            let isBusy () = lines.Count > 0 || isWriting
            let mutable left = atMost

            while isBusy () && left > TimeSpan.Zero do
                Monitor.Wait(gate, left) |> ignore
                left <- atMost - started.Elapsed

            not (isBusy ()))
