namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Core
open FsScheduler.Machine

type private CachedBatch = { batch: Batch; offsets: int[] }

/// <summary>Reads single events. A cache of batches serves consecutive reads. From any thread.</summary>
/// <param name="store">The batches.</param>
/// <param name="spool">The folder of payload files.</param>
/// <param name="toInstant">An instant from Unix milliseconds.</param>
[<Sealed>]
type internal JournalReading(store: IJournalStore, spool: string, toInstant: int64 -> Instant) =
    let cachedMax = 8
    let cache = LinkedList<CachedBatch>()
    let reader = EventReader(spool, false, toInstant)

    let contains (number: int64) (batch: Batch) =
        number >= batch.first && number < Batch.next batch

    let missing number =
        raise (IOException $"the journal has no event {number}")

    let load number : CachedBatch =
        match Seq.tryHead (store.Read number) with
        | Some batch when contains number batch && not (Batch.isLost batch) ->
            let made = { batch = batch; offsets = EventBatch.offsets batch }

            if cache.Count = cachedMax then
                cache.RemoveLast()

            cache.AddFirst made |> ignore
            made
        | _ -> missing number

    let find number : CachedBatch =
        let mutable node = cache.First

        while not (isNull node) && not (contains number (nonNull node).Value.batch) do
            node <- (nonNull node).Next

        match node with
        | null -> load number
        | node ->
            cache.Remove node
            cache.AddFirst node
            node.Value

    let readEvent number : struct (Batch * Event) =
        let { batch = batch; offsets = offsets } = find number
        let json = EventBatch.json batch offsets (int (number - batch.first))
        struct (batch, EventBatch.readOne reader batch number (toInstant batch.at) json)

    let bytesOf (batch: Batch) (place: PayloadPlace voption) =
        match place with
        | ValueSome place when isNull place.file ->
            ValueSome(batch.payloads.Slice(place.at, int place.bytes).ToArray())
        | _ -> ValueNone

    let asIO (read: unit -> 'T) : 'T =
        lock reader (fun () ->
            try
                read ()
            with JournalRefused message ->
                raise (IOException message))

    /// <summary>The submission of an event.</summary>
    /// <exception cref="T:System.IO.IOException">The event has no submission, or cannot be read.</exception>
    member _.Submission(number: int64) : Submission =
        asIO (fun () ->
            let struct (batch, event) = readEvent number

            let submission =
                match event with
                | Event.Submitted(_, submission, _) -> submission
                | Event.Carried(Carried.Task carried) -> carried.submission
                | _ -> missing number

            if submission.IsJournaled then
                let bytes =
                    bytesOf batch reader.SubmissionPlace |> ValueOption.defaultValue Array.empty

                match TaskName.parse submission.Name with
                | Ok name ->
                    Submission.Create(
                        name,
                        reader.Ref,
                        submission.Priority,
                        submission.Origin,
                        Bytes bytes
                    )
                | Error _ -> missing number
            else
                submission)

    /// <summary>The payload of an event.</summary>
    /// <exception cref="T:System.IO.IOException">The event has no payload, or cannot be read.</exception>
    member _.Payload(number: int64) : byte[] =
        asIO (fun () ->
            let struct (batch, _) = readEvent number

            match bytesOf batch reader.PayloadPlace with
            | ValueSome bytes -> bytes
            | ValueNone -> missing number)
