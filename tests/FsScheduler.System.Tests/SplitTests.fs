/// Large files, in pieces, over several workers that come and go.
module FsScheduler.System.Tests.SplitTests

open System
open System.IO
open System.Text
open System.Text.Json
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

/// About so many bytes of lines, no two alike.
let private text (size: int) =
    let line number =
        $"LINHA {number:D9}: AÇÃO, CORAÇÃO E Ímã; À FRENTE {number % 977} ÉGUAS\n"

    let count = size / Encoding.UTF8.GetByteCount(line 0)
    let builder = StringBuilder()

    for number in 1..count do
        builder.Append(line number) |> ignore

    string builder

/// A gigabyte of them, the same ones again and again; one that is seen whole.
let private putGibibyte (place: Workplace) (name: string) (block: string) =
    let bytes = Encoding.UTF8.GetBytes block
    use file = File.Create(place.At name)

    while file.Length < (1L <<< 30) do
        file.Write(bytes, 0, bytes.Length)

    file.Dispose()
    File.Move(place.At name, place.At $"entrada/{name}")

/// Whether a file has nothing but a text, again and again, up to a size.
let private repeats (path: string) (block: string) (size: int64) =
    let expected = Encoding.UTF8.GetBytes block
    let found = Array.zeroCreate<byte> expected.Length
    use file = File.OpenRead path
    let mutable isSo = file.Length = size

    while isSo && file.Position < size do
        file.ReadExactly(found, 0, found.Length)
        isSo <- found.AsSpan().SequenceEqual expected

    isSo

let private events (place: Workplace) (port: int) =
    task {
        let! asked = ask place port [ "events" ]
        expectCode 0 asked
        return asked.Json
    }

let private field (name: string) (event: JsonElement) =
    match event.TryGetProperty name with
    | true, value -> value.ToString()
    | _ -> ""

let private kill (program: Program) =
    task {
        program.Signal Signal.Kill
        let! _ = program.Exit
        (program :> IDisposable).Dispose()
    }

/// Workers that share files write where nobody but them looks, until they say so.
let private losses how isShared =
    scenario
        $"a file of 1 GiB over four workers, two of which are killed, and the scheduler too, comes out whole, and no piece that is done is run again: {how}"
    <| fun () ->
        task {
            use place = new Workplace()
            let block = text 8_000_000
            putGibibyte place "grande.txt" block

            let options =
                [ "--settle"; "0ms"; "--lost-after"; "5s"; "--split"; "8MiB" ]
                @ [
                    if isShared then
                        "--shared-files"
                ]

            let! struct (scheduler, port) = startScheduler place options
            let mutable scheduler = scheduler

            let start () =
                startWorker
                    place
                    port
                    ([ "--slots"; "2" ] @ if isShared then [ "--shared-files"; place.Path ] else [])

            let workers = [| for _ in 1..4 -> start () |]

            let spooled pattern () =
                Directory.GetFiles(place.At ".fs-scheduler/spool", pattern).Length

            let mutable sharedSeen = 0

            let isUnderWay () =
                sharedSeen <- max sharedSeen (spooled "*.shared" ())
                spooled "*.part" () > 8

            do! eventually "some parts" isUnderWay
            do! kill workers[0]
            do! kill scheduler

            let! struct (next, _) =
                startScheduler place ([ "--listen"; $"127.0.0.1:{port}" ] @ options)

            scheduler <- next
            do! kill workers[1]
            workers[0] <- start ()
            workers[1] <- start ()
            let result = place.At "resultados/grande.txt.out"
            let isThere () = File.Exists result
            do! eventuallyOf scheduler (TimeSpan.FromMinutes 5.0) "the result" isThere
            let size = FileInfo(place.At "entrada/grande.txt").Length
            // Some letters are longer in capitals: none of these is.
            Expect.isTrue (repeats result (block.ToLowerInvariant()) size) "the result"
            Expect.equal (sharedSeen > 0) isShared "whether bytes travelled"
            let! events = events place port

            let parts = [
                for event in events do
                    if field "event" event = "part" then
                        field "piece" event
            ]

            Expect.isGreaterThan parts.Length 50 "pieces"
            Expect.hasLength (List.distinct parts) parts.Length "each was done once"
            do! eventually "no part is left" (fun () -> spooled "*" () = 0)

            for worker in workers do
                (worker :> IDisposable).Dispose()

            (scheduler :> IDisposable).Dispose()
        }

let private tests' = [
    losses "over TCP" false
    losses "with shared files" true

    scenario "a file is sorted in pieces as in one, in bounded memory"
    <| fun () ->
        task {
            use place = new Workplace()
            let lines = (text 12_000_000).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            Random(1).Shuffle lines
            place.Put("a.txt", String.Join('\n', lines))

            let! struct (scheduler, _) =
                startScheduler place [
                    "--once"
                    "--workers"
                    "2"
                    "--split"
                    "512KiB"
                    "--pipeline"
                    "upper | sort:desc | head:1000"
                ]

            use scheduler = scheduler
            let! code = scheduler.Exit
            Expect.equal code 0 scheduler.Said

            let expected =
                lines
                |> Array.map _.ToUpperInvariant()
                |> Array.sortWith (fun one other -> String.CompareOrdinal(other, one))
                |> Array.truncate 1_000

            Expect.equal
                (place.Result "a.txt.out")
                (String.Join('\n', expected) + "\n")
                "the result"
        }

    scenario
        "a piece that cannot be done puts the file into quarantine, and retry runs what is missing"
    <| fun () ->
        task {
            use place = new Workplace()
            let content = text 4_000_000
            let bytes = Encoding.UTF8.GetBytes content
            // In the third piece of 1 MiB.
            bytes[2_500_000] <- 0xFFuy
            place.Put("mau.txt", bytes)

            let! struct (scheduler, port) =
                startScheduler place [
                    "--settle"
                    "0ms"
                    "--split"
                    "1MiB"
                    "--workers"
                    "1"
                    "--max-attempts"
                    "1"
                ]

            use scheduler = scheduler
            let error = place.At "resultados/mau.txt.err"
            do! eventually "the error" (fun () -> File.Exists error)
            let told = File.ReadAllText error
            Expect.stringContains told "piece 3 of 4, bytes 20" "which piece"
            Expect.stringContains told "UTF-8" "why"

            let verb args =
                task {
                    let! asked = ask place port args
                    expectCode 0 asked
                    return String.concat "\n" asked.lines
                }

            let! explained = verb [ "explain"; "1" ]
            Expect.stringContains explained "4 pieces" "explain tells of the pieces"
            Expect.stringContains explained "piece 3 of 4" "and which has failed"
            let! _ = verb [ "retry"; "1" ]

            let failures () =
                scheduler.Errors.All |> List.filter _.Contains("is in quarantine")

            do! eventually "it has failed again" (fun () -> (failures ()).Length > 1)

            let! events = events place port

            let submitted =
                events
                |> List.filter (fun event ->
                    field "event" event = "submitted" && field "whole" event <> "")
                |> List.countBy (field "piece")
                |> Map.ofList

            Expect.equal submitted["2"] 2 "the bad piece was run twice"

            let parts = [
                for event in events do
                    if field "event" event = "part" then
                        field "piece" event
            ]

            Expect.hasLength (List.distinct parts) parts.Length "what was done was not"
        }
]

[<Tests>]
let tests = testList "large files" tests'
