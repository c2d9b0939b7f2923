/// Events to test with: every case, every bound, and texts that are awkward to write.
module FsScheduler.Journal.Tests.EventGenerators

open System
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit

let toInstant (at: int64) : Instant = { sinceStart = at * 1L<ms> }

/// The payload that an event of this number was recorded with.
let payloadOf (number: int64) = utf8 $"payload of event {number}"

let createFor origin priority (content: Content) =
    Submission.Create(name "dir/é '1'.txt", "ref «1»", priority, origin, content)

let inputFor priority version =
    Submission.Create(name "dir/é '1'.txt", "ref «1»", priority, Folder, Input version)

// The primitive types. A type with a unit of measure is the same as one without.

let private text =
    Gen.elements [
        ""
        "lost"
        "it's \"bad\"\n\000\\ – até amanhã"
        "</b>&+\u2028 😀"
        String('x', 3_000)
    ]

let private names = Gen.elements [ [||]; [| "a" |]; [| "lower"; "exec:é \"x\"" |] ]
let private integer = Gen.elements [ 0L; 1L; 2L; 4_096L; 1L <<< 40; Int64.MaxValue ]
let private small = Gen.elements [ 0; 1; 7; 4_095 ]
let private hash = Gen.elements [ 0UL; 7UL; UInt64.MaxValue ]
let private size = integer |> Gen.map (fun value -> value * 1L<B>)

let private instant =
    Gen.elements [ -5_000L; 0L; 1L; 1_000_000_000_000L ] |> Gen.map toInstant

let private pipeline =
    Gen.elements [ "lower"; "lower | upper | sort"; "a.lines | a.part:é" ]
    |> Gen.map (fun text ->
        match Pipeline.parseRecorded text with
        | Ok pipeline -> pipeline
        | Error error -> failwith error.message)

let private version =
    gen {
        let! size = size
        let! modified = Gen.elements [ -9L; 0L; 638_000_000_000_000_000L ]
        let! changed = integer
        let! inode = integer
        return ({ size = size; modified = modified; changed = changed; inode = inode }: FileVersion)
    }

let private memory =
    Gen.elements [ [||]; utf8 "x"; Array.init 60_000 byte ] |> Gen.map Bytes

let private spooled = size |> Gen.map (fun size -> Spooled("/spool/17-é", size))

let private content = Gen.oneof [ memory; spooled ]

/// A result.
let private kept =
    let recorded =
        small
        |> Gen.map (fun number ->
            let bytes = payloadOf (int64 number)
            Recorded(int64 number, int64 bytes.Length * 1L<B>))

    Gen.oneof [ Gen.map Held memory; Gen.map Held spooled; recorded ]

let private basic =
    ArbMap.defaults
    |> ArbMap.mergeArb (Arb.fromGen text)
    |> ArbMap.mergeArb (Arb.fromGen names)
    |> ArbMap.mergeArb (Arb.fromGen integer)
    |> ArbMap.mergeArb (Arb.fromGen small)
    |> ArbMap.mergeArb (Arb.fromGen hash)
    |> ArbMap.mergeArb (Arb.fromGen instant)
    |> ArbMap.mergeArb (Arb.fromGen pipeline)
    |> ArbMap.mergeArb (Arb.fromGen version)
    |> ArbMap.mergeArb (Arb.fromGen content)
    |> ArbMap.mergeArb (Arb.fromGen kept)
    |> ArbMap.mergeArb (
        Gen.elements [ "a.txt"; "d/é 'ü'.txt"; "\"q\"/日本" ]
        |> Gen.map name
        |> Arb.fromGen
    )

// Submissions.

let private clientOrigin = ArbMap.generate basic |> Gen.map Origin.Client
let private priority = Gen.elements [ -2; 0; 9 ]

let private submission =
    let piece =
        gen {
            let! whole, index, start = ArbMap.generate basic
            let! file = spooled
            let! origin = clientOrigin

            return
                (createFor origin 1 file).Piece(whole, index, Slice(Kept(Held file), start, 9L<B>))
        }

    Gen.oneof [
        Gen.map3 createFor clientOrigin priority content
        Gen.map2 inputFor priority version
        piece
    ]

/// A submission as the machine has it when the journal has the rest.
let private journaled =
    Gen.map2
        (fun origin priority -> (createFor origin priority Content.empty).ToJournaled())
        clientOrigin
        priority

let private all =
    basic
    |> ArbMap.mergeArb (Arb.fromGen submission)
    |> ArbMap.mergeArb (Arb.fromGen (Gen.resize 3 (Gen.listOf (ArbMap.generate<Failure> basic))))

/// What `make` makes of any fields.
let private kind (make: 'fields -> Event) = ArbMap.generate all |> Gen.map make

let private carriedTask =
    gen {
        let! task = ArbMap.generate<CarriedTask> all
        let! submission = Gen.oneof [ submission; journaled ]
        let! place = Gen.elements [ -3L; 0L; 12L ]
        return Event.Carried(Carried.Task { task with submission = submission; place = place })
    }

/// One for each case, of events and of what is told by a case within them.
let kinds: Gen<Event> list = [
    kind Event.Submitted
    kind Event.Assigned
    kind Event.Advanced
    kind Event.Split
    kind Event.Part
    kind Event.PartLost
    kind Event.Speculated
    kind Event.Delayed
    kind Event.Woken
    kind Event.Requeued
    kind Event.Claimed
    kind Event.Quarantined
    kind (fun (attempt, result) -> Event.Accepted(attempt, AcceptedContent result))
    kind (fun (attempt, mark) -> Event.Accepted(attempt, AcceptedMark mark))
    kind Event.Completed
    kind Event.Cancelled
    kind Event.Retried
    kind Event.Gone
    kind Event.Joined
    kind Event.Left
    kind Event.Opened
    kind (Note.Owner >> Event.Noted)
    kind (Note.Delivered >> Event.Noted)
    kind (Note.Flushed >> Event.Noted)
    kind (Note.Damaged >> Event.Noted)
    carriedTask
    kind (Carried.Part >> Event.Carried)
    kind (Carried.Key >> Event.Carried)
    kind (Carried.File >> Event.Carried)
    kind (Carried.Owner >> Event.Carried)
    kind (Carried.Worker >> Event.Carried)
    kind Event.Dropped
]

/// The same events of a kind each time.
let sample (kind: int) (size: int) (count: int) =
    // Any odd number for the second half of the seed.
    let seed = Rnd(uint64 kind + 1UL, 0x9E3779B97F4A7C15UL)
    Gen.sampleWithSeed seed size count kinds[kind]
