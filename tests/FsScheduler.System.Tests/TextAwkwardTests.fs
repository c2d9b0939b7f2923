/// Texts as other systems write them, through real processes: in pieces, and over workers that share a pipeline.
module FsScheduler.System.Tests.TextAwkwardTests

open System
open System.IO
open System.Text
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

let private mark = "\uFEFF"

/// A byte order mark, and lines of which some begin with the same character.
let private lines = [
    for number in 1..30_000 ->
        let head = if number % 7 = 0 then mark else ""
        $"{head}LINHA {number * 7_919 % 30_011:D5}"
]

let private text =
    mark + (lines |> List.map (fun line -> line + "\n") |> String.concat "")

let private sorted order =
    lines
    |> List.map _.ToLowerInvariant()
    |> order (fun left right -> String.CompareOrdinal(left, right))
    |> List.map (fun line -> line + "\n")
    |> String.concat ""
    |> (+) mark

/// What stands in the results, with U+FEFF, which `File.ReadAllText` would take for itself.
let private result (place: Workplace) name =
    Encoding.UTF8.GetString(File.ReadAllBytes(place.At $"resultados/{name}.out"))

let private runOnce (place: Workplace) args =
    task {
        let! struct (scheduler, _) = startScheduler place ("--once" :: args)
        use scheduler = scheduler
        let! code = scheduler.Exit
        return struct (code, scheduler.Said)
    }

[<Tests>]
let tests =
    testList "texts from elsewhere" [
        scenario
            "a byte order mark stays in front, in pieces and with the stages on different workers"
        <| fun () ->
            task {
                let bytes = Encoding.UTF8.GetBytes text

                for split in [ "16MiB"; "128KiB" ] do
                    use place = new Workplace()

                    for name in [ "s.txt"; "d.csv"; "f.tsv" ] do
                        place.Put(name, bytes)

                    let! struct (scheduler, port) =
                        startScheduler place [
                            "--once"
                            "--split"
                            split
                            "--pipeline"
                            "lower | sort"
                            "--route"
                            "*.csv=lower | sort:desc | sort"
                            "--route"
                            "*.tsv=trim | freq | top:1"
                        ]

                    use scheduler = scheduler
                    use _ = startWorker place port [ "--stages"; "lower,trim" ]
                    use _ = startWorker place port [ "--stages"; "sort,freq,top" ]
                    use _ = startWorker place port []
                    let! code = scheduler.Exit
                    Expect.equal code 0 scheduler.Said
                    let expected = sorted List.sortWith
                    Expect.isTrue (result place "s.txt" = expected) $"sort, {split}"
                    Expect.isTrue (result place "d.csv" = expected) $"sort twice, {split}"
                    let plain = lines |> List.filter (fun line -> line[0] <> '\uFEFF')
                    Expect.equal (result place "f.tsv") $"{plain.Length}\tLINHA\n" $"freq, {split}"
            }

        scenario "texts in windows-1252 and UTF-16 are read by the stages for them, and told apart"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.ansi", [| 0x93uy; 0xC1uy; 0x94uy; 0x80uy |])

                place.Put(
                    "b.u16",
                    Array.append [| 0xFFuy; 0xFEuy |] (Encoding.Unicode.GetBytes "ÁÉ😀")
                )

                let! struct (code, said) =
                    runOnce place [
                        "--workers"
                        "1"
                        "--route"
                        "*.ansi=windows-1252 | lower"
                        "--route"
                        "*.u16=UTF-16 | lower"
                    ]

                Expect.equal code 0 said
                Expect.equal (result place "a.ansi") "“á”€" said
                Expect.equal (result place "b.u16") "áé😀" said

                place.Put(
                    "c.txt",
                    Array.append [| 0xFEuy; 0xFFuy |] (Encoding.BigEndianUnicode.GetBytes "Á")
                )

                let! struct (code, said) = runOnce place [ "--workers"; "1" ]
                Expect.equal code 1 said

                Expect.stringContains
                    (File.ReadAllText(place.At "resultados/c.txt.err"))
                    "it is UTF-16; let the pipeline begin with utf-16"
                    "what to use"
            }
    ]
