namespace FsScheduler.Server

open System
open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform

/// <summary>The events, by number, whose payloads queued messages will read. Dropping old events waits for these reads,
/// since the journal keeps a needed payload under a new number. Safe for any thread.</summary>
/// <param name="drop">Drops the events before a number.</param>
/// <param name="clock">Measures how long a drop has waited.</param>
[<Sealed>]
type PendingReads(drop: Action<int64>, clock: Clock) =
    // A peer that reads nothing is disconnected after a minute, which ends its reads.
    static let waitMax = 600_000L<ms>
    let syncRoot = obj ()
    let readers = SortedDictionary<int64, int>()

    /// The drop that waits: the first number to keep, and since when.
    let mutable wanted: struct (int64 * Instant) voption = ValueNone

    let numberOf payload =
        match payload with
        | OutgoingPayload.Kept(Recorded(number, _))
        | OutgoingPayload.Task(_, Kept(Recorded(number, _))) -> ValueSome number
        | _ -> ValueNone

    let isRead before =
        readers.Count > 0 && Seq.head readers.Keys < before

    let dropIfDue () =
        match wanted with
        | ValueSome(struct (before, since)) when not (isRead before) || clock.Now - since >= waitMax ->
            wanted <- ValueNone
            drop.Invoke before
        | ValueSome _
        | ValueNone -> ()

    /// Begins a read of an event.
    member _.Begin(number: int64) =
        lock syncRoot (fun () ->
            let count = readers.GetValueOrDefault(number, 0)
            readers[number] <- count + 1)

    /// Ends a read of an event, done or given up.
    member _.End(number: int64) =
        lock syncRoot (fun () ->
            match readers.GetValueOrDefault(number, 0) with
            | 0
            | 1 -> readers.Remove number |> ignore
            | count -> readers[number] <- count - 1

            dropIfDue ())

    /// Begins a read of the event that holds a payload, if one does.
    member reads.Begin(payload: OutgoingPayload) =
        numberOf payload |> ValueOption.iter reads.Begin

    /// Ends a read of the event that holds a payload, if one does.
    member reads.End(payload: OutgoingPayload) =
        numberOf payload |> ValueOption.iter reads.End

    /// Drops events as soon as none of them is to be read, or after ten minutes.
    member _.Drop(before: int64) =
        lock syncRoot (fun () ->
            wanted <-
                match wanted with
                | ValueSome(struct (earlier, since)) ->
                    ValueSome(struct (max earlier before, since))
                | ValueNone -> ValueSome(struct (before, clock.Now))

            dropIfDue ())

    /// Performs a drop that is due; to be called periodically.
    member _.Check() = lock syncRoot dropIfDue
