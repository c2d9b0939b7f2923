namespace FsScheduler.Server

open System
open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>Events that messages on their way will be read from, by number. What is dropped of the journal waits for them: what it
/// has of a number is found under another one afterwards, and a message still has the old one. From any thread.</summary>
/// <param name="drop">Drops the events before a number.</param>
/// <param name="clock">Measures how long that has waited.</param>
[<Sealed>]
type PendingReads(drop: Action<int64>, clock: Clock) =
    // A peer that reads nothing at all is cut off after a minute: its messages are given up then.
    static let waitMax = 600_000L<ms>
    let gate = obj ()
    let readers = SortedDictionary<int64, int>()

    /// Before which number events are to be dropped, and since when.
    let mutable wanted: struct (int64 * Instant) voption = ValueNone

    let rec numberOf payload =
        match payload with
        | Recorded(number, _) -> ValueSome number
        | Slice(whole, _, _) -> numberOf whole
        | Packed
        | Journaled
        | Bytes _
        | Spooled _
        | Input _ -> ValueNone

    let isRead before =
        readers.Count > 0 && Seq.head readers.Keys < before

    let look () =
        match wanted with
        | ValueSome(struct (before, since)) when not (isRead before) || clock.Now - since >= waitMax ->
            wanted <- ValueNone
            drop.Invoke before
        | ValueSome _
        | ValueNone -> ()

    /// Somebody will read what an event has.
    member _.Begin(number: int64) =
        lock gate (fun () ->
            let count = readers.GetValueOrDefault(number, 0)
            readers[number] <- count + 1)

    /// What was to be read is read, or will not be.
    member _.End(number: int64) =
        lock gate (fun () ->
            match readers.GetValueOrDefault(number, 0) with
            | 0
            | 1 -> readers.Remove number |> ignore
            | count -> readers[number] <- count - 1

            look ())

    /// The same, of what is in the journal of a payload that will be sent.
    member reads.Begin(payload: Payload) =
        numberOf payload |> ValueOption.iter reads.Begin

    /// The same, of what is in the journal of a payload that is sent, or will not be.
    member reads.End(payload: Payload) =
        numberOf payload |> ValueOption.iter reads.End

    /// Has events dropped, at once or as soon as nobody is to read of them, or after ten minutes.
    member _.Drop(before: int64) =
        lock gate (fun () ->
            wanted <-
                match wanted with
                | ValueSome(struct (earlier, since)) ->
                    ValueSome(struct (max earlier before, since))
                | ValueNone -> ValueSome(struct (before, clock.Now))

            look ())

    /// To be called from time to time.
    member _.Check() = lock gate look
