module FsScheduler.Core.Tests.EncodingNameTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core

let private offered = HashSet [ "big5"; "ocr" ]

let private wire parse text =
    match parse text with
    | Ok(pipeline: Pipeline) -> List.ofArray pipeline.wire
    | Error(error: PipelineError) -> failtest $"'{text}' was refused: {error.message}"

let private refused text (part: string) =
    match Pipeline.parse offered text with
    | Ok pipeline -> failtest $"'{text}' was read as {Pipeline.print pipeline}"
    | Error error -> Expect.stringContains error.message part text

let private understood = [
    "latin1",
    [
        "latin-1"
        "Latin-1"
        "LATIN1"
        "iso-8859-1"
        "ISO8859-1"
        "iso_8859-1"
        "l1"
        "iso-latin-1"
        "8859-1"
    ]
    "cp1252",
    [
        "windows-1252"
        "Windows1252"
        "win-1252"
        "CP1252"
        "cp-1252"
        "x-cp1252"
        "ansi"
    ]
    "utf-16", [ "utf16"; "UTF-16"; "utf_16"; "ucs-2"; "unicode" ]
    "utf-16:le", [ "utf-16le"; "UTF-16LE"; "utf16-le"; "ucs-2le" ]
    "utf-16:be", [ "utf-16be"; "utf16be"; "ucs-2be" ]
]

[<Tests>]
let tests =
    testList "names of encodings" [
        for stage, names in understood do
            for name in names do
                test $"'{name}' is understood as {stage}" {
                    Expect.equal
                        (wire (Pipeline.parse offered) $"{name} | lower")
                        [ stage; "lower" ]
                        ""

                    Expect.equal (wire Pipeline.parseAwaiting name) [ stage ] "of a folder"
                    refused $"lower | {name}" "can only be the first stage"
                }

        for name in [ "utf-8"; "UTF8"; "ascii"; "us-ascii"; "utf-8-sig" ] do
            test $"'{name}' is left away" {
                refused $"{name} | lower" $"there is no stage '{name}': text is UTF-8 already"
            }

        for name in
            [
                "iso-8859-15"
                "windows-1251"
                "cp850"
                "koi8-r"
                "utf-32"
                "shift_jis"
                "gbk"
                "euc-kr"
                "latin9"
                "macroman"
                "x-mac-roman"
                "cp737"
                "cp950"
                "ms932"
                "windows-31j"
                "viscii"
            ] do
            test $"'{name}' is read by no stage" { refused name $"exec:iconv -f {name} -t utf-8" }

        test "a worker's own stage of such a name is itself" {
            Expect.equal (wire (Pipeline.parse offered) "big5") [ "big5" ] ""
            Expect.equal (wire Pipeline.parseRecorded "big5") [ "big5" ] "recorded"
        }

        test "other names are none" {
            for name in [ "lowr"; "ocr2"; "macro"; "latin"; "cp"; "eu"; "cp2"; "ms2txt" ] do
                Expect.equal (EncodingName.tryFind name) ValueNone name

            refused "latin" "did you mean 'latin1'?"
            refused "cp1252:x" "cp1252 takes no argument"
            refused "utf-16le:be" "utf-16le takes no argument"
            refused "utf-16:x" "utf-16 takes le or be"
        }
    ]
