/// Whatever is written is read, however the bytes are cut.
module FsScheduler.Protocol.Tests.FrameRoundTripTests

open System
open System.IO
open Expecto
open FsScheduler.Core
open FsScheduler.TestKit
open FsScheduler.Protocol.Tests.FrameSupport

/// Cut at places that chance decides, often within a few bytes.
let private cut (random: Random) (bytes: byte[]) = [
    let mutable start = 0
    let longest = if random.Next 2 = 0 then 7 else 20_000

    while start < bytes.Length do
        let length = min (bytes.Length - start) (1 + random.Next longest)
        Array.sub bytes start length
        start <- start + length
]

let private attempt (random: Random) : Attempt = {
    task = random.NextInt64(1L, 1L <<< 40) * 1L<taskId>
    number = random.Next(1, 9)
}

let private toMessage (random: Random) index =
    match random.Next 4 with
    | 0 ->
        ToScheduler.Submit {
            ref = $"r{index}"
            name = "ação.txt"
            pipeline = "lower | trim"
            priority = random.Next 9
            key = Some "a\n\"key\""
            want = Want.File
        }
    | 1 -> ToScheduler.Result(attempt random, Succeeded)
    | 2 -> ToScheduler.Cancel(int64 (index + 1) * 1L<taskId>)
    | _ -> ToScheduler.Ready index

let private fromMessage (random: Random) index =
    match random.Next 4 with
    | 0 ->
        FromScheduler.Process {
            attempt = attempt random
            name = "x/y.txt"
            stages = [| "lower"; "grep:é\n" |]
            timeout = 1L<ms>
            piece = ValueNone
            files = ValueNone
        }
    | 1 ->
        FromScheduler.Done {
            ref = $"{index}"
            task = 3L<taskId>
            attempts = 1
            outcome = TaskOutcome.Completed
            error = None
        }
    | 2 -> FromScheduler.Error(ErrorCode.BadField, String('"', 3_000))
    | _ -> FromScheduler.Beat

let private payload (random: Random) (memoryMax: int) =
    let sizes = [| 0; 0; 1; 2; 50; memoryMax - 1; memoryMax; memoryMax + 1; 3 * memoryMax + 5 |]

    let bytes = Array.zeroCreate sizes[random.Next sizes.Length]
    random.NextBytes bytes

    // As much like frames as payloads can be.
    for index in 0..5 .. bytes.Length - 1 do
        bytes[index] <- (if index % 2 = 0 then byte '\n' else byte '{')

    bytes

/// Whatever is written is read, however the bytes are cut.
let private roundTrip encode decode (message: Random -> int -> 'message) memoryMax (seed: int) =
    task {
        use folder = new TempFolder()
        let random = Random seed

        let sent = [
            for index in 0 .. random.Next 12 -> message random index, payload random memoryMax
        ]

        let mutable files = 0

        let newFile name (bytes: byte[]) =
            files <- files + 1
            let path = folder.At $"{name}{files}"
            IO.File.WriteAllBytes(path, bytes)
            path

        let! bytes =
            sent
            |> List.map (fun (message, bytes) ->
                if bytes.Length > 0 && random.Next 3 = 0 then
                    let size = int64 bytes.Length * 1L<B>
                    departure message (Spooled(newFile "out" bytes, size))
                else
                    departure message (Bytes bytes))
            |> written encode

        let spool _ : string | null =
            files <- files + 1
            folder.At $"in{files}"

        let! struct (received, errors) =
            read decode (int64 memoryMax * 1L<B>) spool (cut random bytes)

        Expect.isEmpty errors "no errors"

        Expect.equal
            (received |> List.map (fun frame -> frame.message, frame.bytes))
            sent
            $"the same, in order (seed {seed})"

        for frame in received do
            Expect.equal frame.isSpooled (frame.bytes.Length > memoryMax) "where it is held"
            Expect.isNull frame.failure "no failure"

        Expect.isEmpty (Directory.GetFiles(folder.Path, "in*")) "no file is left"
    }

[<Tests>]
let tests =
    testList "frames.there and back" [
        for memoryMax in [ 100; 65_536 ] do
            testTask $"any cut of the bytes gives the same frames; {memoryMax} bytes in memory" {
                for seed in 1 .. (if memoryMax = 100 then 150 else 10) do
                    do! roundTrip encodeTo toScheduler toMessage memoryMax seed
                    do! roundTrip encodeFrom fromScheduler fromMessage memoryMax seed
            }
    ]
