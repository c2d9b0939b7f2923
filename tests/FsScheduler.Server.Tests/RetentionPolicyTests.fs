/// How much of the past is dropped.
module FsScheduler.Server.Tests.RetentionPolicyTests

open System
open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Server

let private now: Instant = { sinceStart = 10_000L<ms> }
let private retention: Retention = { age = 3_000L<ms>; bytes = 8_000L<B> }
let private since: Instant = { sinceStart = 7_000L<ms> }
let private nothing: JournalUse = { kept = 0L<B>; carried = 0L; flushedUpTo = ValueNone }

/// <summary>What is chosen, and what was asked of the journal for it.</summary>
/// <param name="bytes">What a journal of the events 1 to 1,000 takes.</param>
/// <param name="old">Where what is young enough begins.</param>
/// <param name="fitting">Where what fits begins.</param>
/// <param name="usage">What there is beside it.</param>
let private choose bytes old fitting usage =
    let asked = List<struct (int64 * Instant)>()

    let sizeFor keep since : StoreSize =
        asked.Add(struct (keep, since))

        {
            bytes = bytes
            first = 1L
            next = 1_001L
            cutoff = if keep = Int64.MaxValue then old else max old fitting
        }

    RetentionPolicy.choose retention RetentionPace.Usual usage now sizeFor, List.ofSeq asked

let private before chosen =
    match chosen with
    | ValueSome(cutoff: Cutoff) -> Some(int64 cutoff.before, cutoff.isTooMuch)
    | ValueNone -> None

let private everything = struct (Int64.MaxValue, since)

[<Tests>]
let tests =
    testList "what is dropped of the journal" [
        for what, bytes, old, fitting, usage, expected in
            [
                "nothing, where it is young and small", 8_000L, 1L, 500L, nothing, None
                "what is too old", 8_000L, 300L, 500L, nothing, Some(300L, false)
                "what is too much", 8_001L, 1L, 500L, nothing, Some(500L, true)
                "what is too much, where more is too old",
                8_001L,
                600L,
                500L,
                nothing,
                Some(600L, true)
                "what is too much with the results that are kept in files",
                5_000L,
                1L,
                500L,
                { nothing with kept = 3_001L<B> },
                Some(500L, true)
                "nothing, where all fits with those",
                5_000L,
                1L,
                500L,
                { nothing with kept = 3_000L<B> },
                None
                "nothing, where the rest is needed",
                8_800L,
                1L,
                500L,
                { nothing with carried = 100L },
                None
                "what is too much beside what is needed",
                8_900L,
                1L,
                500L,
                { nothing with carried = 100L },
                Some(500L, true)
                "not what may not have reached the device",
                8_000L,
                300L,
                500L,
                { nothing with flushedUpTo = ValueSome 199L },
                Some(200L, false)
                "what is old, where younger results have not reached the device",
                8_000L,
                300L,
                500L,
                { nothing with flushedUpTo = ValueSome 400L },
                Some(300L, false)
                "nothing, where no result has reached the device",
                8_000L,
                300L,
                500L,
                { nothing with flushedUpTo = ValueSome 0L },
                None
                "nothing, where it is little", 8_000L, 17L, 500L, nothing, None
                "what is little, and enough", 8_000L, 18L, 500L, nothing, Some(18L, false)
                "nothing, where more would be written for it than is worth while",
                8_000L,
                217L,
                500L,
                { nothing with carried = 100L },
                None
                "what is twice what is written for it",
                8_000L,
                218L,
                500L,
                { nothing with carried = 100L },
                Some(218L, false)
            ] do
            test what {
                let chosen, _ = choose bytes old fitting usage
                Expect.equal (before chosen) expected "before which event, and why"
            }

        test "is asked of the journal by age, and then by what is left when an eighth is free" {
            let chosen, asked = choose 8_000L 300L 500L nothing
            Expect.equal asked [ everything ] "once"
            Expect.equal (chosen |> ValueOption.map _.keptSince) (ValueSome since) "of keys too"
            let _, asked = choose 9_000L 300L 500L { nothing with kept = 500L<B> }
            Expect.equal asked [ everything; struct (6_500L, since) ] "twice"
            let _, asked = choose 9_000L 300L 500L { nothing with kept = 9_000L<B> }
            Expect.equal asked [ everything; struct (0L, since) ] "never less than nothing"
        }

        test "is nothing of an empty journal" {
            let sizeFor _ _ : StoreSize = { bytes = 0L; first = 1L; next = 1L; cutoff = 1L }
            let usage = { nothing with carried = 100L }

            Expect.isNone
                (before (RetentionPolicy.choose retention RetentionPace.Usual usage now sizeFor))
                "nothing"
        }
    ]
