/// Programs as stages: how their text is read, and which workers are given them.
module FsScheduler.Core.Tests.ExecCommandTests

open System
open System.Collections.Generic
open Expecto
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.TestKit.SchedulerFixture

let private words text =
    match ExecCommand.parse text with
    | Ok command -> command.program :: List.ofArray command.arguments
    | Error fault -> failtest $"{text}: {fault}"

let private refused text position (part: string) =
    match ExecCommand.parse text with
    | Ok command -> failtest $"{text} is {command}"
    | Error fault ->
        Expect.equal fault.position position $"{text}: {fault.message}"
        Expect.stringContains fault.message part text

let private reading =
    testList "reading" [
        for text, expected in
            [
                "jq", [ "jq" ]
                "  jq\t.a   .b ", [ "jq"; ".a"; ".b" ]
                "jq '.a | .b'", [ "jq"; ".a | .b" ]
                "jq ''", [ "jq"; "" ]
                "jq 'it''s'", [ "jq"; "it's" ]
                "jq ''''", [ "jq"; "'" ]
                "jq --arg='a b'c", [ "jq"; "--arg=a bc" ]
                "'/opt/my programs/run' x", [ "/opt/my programs/run"; "x" ]
                // What a shell would read otherwise.
                @"echo $(touch x) `id` $HOME \n ""a b"" ; > y | z & *",
                [
                    "echo"
                    "$(touch"
                    "x)"
                    "`id`"
                    "$HOME"
                    @"\n"
                    "\"a"
                    "b\""
                    ";"
                    ">"
                    "y"
                    "|"
                    "z"
                    "&"
                    "*"
                ]
                "a\u00A0b", [ "a\u00A0b" ]
            ] do
            test $"of {text}" { Expect.equal (words text) expected "" }

        test "of a line end in an argument, which is one" {
            Expect.equal (words "sed 'a\nb'\n") [ "sed"; "a\nb\n" ] ""
        }

        test "refuses what has no program, an open quote or too many words" {
            refused "" 0 "there is no program"
            refused "   " 0 "there is no program"
            refused "jq 'a" 3 "the quote at character 4 is not closed"
            refused "jq a'b'' c" 4 "the quote at character 5 is not closed"
            refused "'' a" 0 "a program has 1 to 200 bytes"
            refused " a,b" 1 "commas"
            refused "a\nb" 0 "control characters"
            refused (String('a', 201)) 0 "a program has 1 to 200 bytes"
            refused "jq a\000b" 4 "NUL"
            let many count = "p" + String.replicate count " a"
            Expect.equal (words (many 200)).Length 201 ""
            refused (many 201) 402 "at most 200 arguments"
        }

        testProperty "what is printed is read back"
        <| Prop.forAll
            (Gen.elements (Seq.toList "ab' \t\"|$\\é")
             |> Gen.arrayOf
             |> Gen.map String
             |> Gen.arrayOf
             |> Arb.fromGen)
            (fun arguments ->
                let command = { program = "a b'c"; arguments = Array.truncate 200 arguments }
                let text = PipelineTests.printCommand command
                Expect.equal (ExecCommand.parse text) (Ok command) text)
    ]

let private parse (offered: string list) text =
    Pipeline.parse (HashSet<string> offered) text

let private inPipelines =
    testList "in pipelines" [
        test "they demand the program, and say what they may be run on" {
            let stages =
                match
                    parse
                        [ "exec:jq"; "exec-file:jq"; "exec-lines:sed" ]
                        "exec:jq .a | exec-file:\"jq 'a | b' {in}\" | exec-lines:sed -u s/a/b/ | lower"
                with
                | Ok pipeline -> pipeline.stages
                | Error error -> failtest $"{error}"

            Expect.equal
                [ for stage in stages -> stage.demand, stage.argument, stage.kind ]
                [
                    "exec:jq", "jq .a", WholeFile
                    "exec-file:jq", "jq 'a | b' {in}", WholeFile
                    "exec-lines:sed", "sed -u s/a/b/", PerLine
                    "lower", "", PerLine
                ]
                ""
        }

        for offered, text, part in
            [
                [], "exec", "exec wants a program to run, as in exec:jq"
                [], "exec-lines: ", "exec-lines wants a program to run"
                [], "exec:jq .a", "no worker may run 'exec:jq'; start one with --allow-exec 'jq'"
                [ "exec:jq" ], "exec:jqq", "no worker may run 'exec:jqq'"
                [ "exec:jq" ], "exec-lines:jq", "no worker may run 'exec-lines:jq'"
                [ "exec:jq" ], "exec:/usr/bin/jq", "no worker may run 'exec:/usr/bin/jq'"
                [ "exec:jq" ], "exec:jq 'a", "exec, at character 4 of its argument: the quote"
            ] do
            test $"refuses {text} where {offered} are known" {
                match parse offered text with
                | Ok pipeline -> failtest $"{pipeline}"
                | Error error -> Expect.stringContains error.message part ""
            }

        test "are read from the journal, whoever may run them now" {
            Expect.isOk (Pipeline.parseRecorded "exec:jq .a") ""
        }
    ]

let private offers =
    testList "offers" [
        test "are names, or programs with how they are run" {
            for offer in [ "ocr"; "exec:jq"; "exec-file:/opt/my ocr"; "exec-lines:a:b" ] do
                Expect.isTrue (ProtocolLimits.isOffer offer) offer

            for offer in [ ""; "exec"; "exec:"; "ocr:jq"; "exec:a,b"; "exec:a\nb"; ":jq" ] do
                Expect.isFalse (ProtocolLimits.isOffer offer) offer
        }

        test "are bounded as a whole, so that they fit into a line" {
            Expect.isTrue (ProtocolLimits.areOffers (Seq.replicate 1_000 (String('a', 50)))) "names"

            Expect.isTrue
                (ProtocolLimits.areOffers (ExecCommand.offers [ "jq"; "/opt/ocr/run" ]))
                "few"

            Expect.isFalse (ProtocolLimits.areOffers (Seq.replicate 1_001 "a")) "one name too many"
            let long = Seq.replicate 50 ("exec:" + String('"', 200))
            Expect.isFalse (ProtocolLimits.areOffers long) "their escapes count"
        }
    ]

[<Tests>]
let tests = testList "programs as stages" [ reading; inPipelines; offers ]
