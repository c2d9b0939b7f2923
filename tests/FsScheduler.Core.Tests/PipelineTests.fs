module FsScheduler.Core.Tests.PipelineTests

open System
open System.Collections.Generic
open Expecto
open FsCheck.FSharp
open FsScheduler.Core

let private offered =
    HashSet<string>([ "ocr"; "pdf2txt"; "exec:jq"; "exec-lines:jq" ])

let private parse text = Pipeline.parse offered text

let private wire text =
    match parse text with
    | Ok pipeline -> List.ofArray pipeline.wire
    | Error error -> failtest $"{text}: {error}"

let private refused text position (message: string) =
    Expect.equal (parse text) (Error { position = position; message = message }) text

/// A text that `ExecCommand.parse` reads as the command.
let printCommand (command: ExecCommand) =
    let quoted (word: string) =
        if word = "" || word.AsSpan().ContainsAny(' ', '\t', '\'') then
            let doubled = word.Replace("'", "''")
            $"'{doubled}'"
        else
            word

    command.program :: List.ofArray command.arguments
    |> List.map quoted
    |> String.concat " "

/// Characters that mean something to the grammar, and some that do not.
let private argumentCharacter =
    Gen.frequency [
        6, Gen.elements (Seq.toList "abzAZ019é€ç.,;-_")
        4, Gen.elements (Seq.toList "|:\"/\\ \t")
        1, Gen.constant '\u00A0'
    ]

let private argument minimum =
    Gen.sized (fun size -> Gen.choose (minimum, max minimum (min 20 size)))
    |> Gen.bind (fun length -> Gen.arrayOfLength length argumentCharacter)
    |> Gen.map System.String

let private escaped (text: string) =
    text.Replace(@"\", @"\\").Replace("/", @"\/")

let private stage =
    Gen.oneof [
        Gen.elements [
            "lower"
            "upper"
            "trim"
            "squeeze"
            "strip-accents"
            "nfc"
            "sort"
            "uniq"
            "freq"
            "lines"
            "words"
            "bytes"
        ]
        |> Gen.map (fun name -> name, "")
        argument 1 |> Gen.map (fun text -> "grep", text)
        Gen.map2
            (fun oldText newText -> "replace", $"{escaped oldText}/{escaped newText}")
            (argument 1)
            (argument 0)
        Gen.zip (Gen.elements [ "head"; "top" ]) (Gen.choose (0, 1_000_000))
        |> Gen.map (fun (name, count) -> name, string count)
        Gen.subListOf [ "numeric"; "desc"; "unique" ]
        |> Gen.map (fun words -> "sort", String.concat "," words)
        argument 0 |> Gen.map (fun text -> "ocr", text)
        argument 0
        |> Gen.map (fun text ->
            "exec", printCommand { program = "jq"; arguments = [| text; "x" |] })
    ]
    |> Gen.map (fun (name, argument) ->
        match Stage.create name argument with
        | Ok stage -> stage
        | Error message -> failwith message)

let private pipeline =
    Gen.choose (1, 8)
    |> Gen.bind (fun count -> Gen.arrayOfLength count stage)
    |> Gen.map (fun stages -> { stages = stages; wire = Array.map Stage.toWire stages })

/// Texts that are nearly pipelines.
let private text =
    Gen.choose (0, 40)
    |> Gen.bind (fun length ->
        Gen.arrayOfLength
            length
            (Gen.elements [ "lower"; "head"; "grep"; "|"; ":"; "\""; " "; "3"; "/"; "\\"; "ocr" ]))
    |> Gen.map (String.concat "")

let private reading =
    testList "reading" [
        test "stages in order, blanks around them as one likes" {
            Expect.equal (wire "lower|  grep:erro |words ") [ "lower"; "grep:erro"; "words" ] ""
            Expect.equal (wire "\tlower\n|\ntrim") [ "lower"; "trim" ] "over several lines"
        }

        test "an argument goes to the next bar, without the blanks at its ends" {
            Expect.equal (wire "grep: um dois : 3  | lower") [ "grep:um dois : 3"; "lower" ] ""
        }

        test "quotes keep blanks and bars, and a doubled quote is one" {
            Expect.equal
                (wire "grep:\" a | \"\"b\"\" \" | lower")
                [ "grep: a | \"b\" "; "lower" ]
                ""
        }

        test "a quote inside an argument is a quote" {
            Expect.equal (wire "grep:5\" disk") [ "grep:5\" disk" ] ""
        }

        test "kinds come from the catalogue; what a worker offers is run on whole files" {
            let kinds =
                match parse "latin1 | lower | head:3 | ocr:por | words" with
                | Ok pipeline -> [ for stage in pipeline.stages -> stage.kind ]
                | Error error -> failtest $"{error}"

            Expect.equal kinds [ PerLine; PerLine; WholeFile; WholeFile; Aggregating ] ""
        }

        test "the words of sort, in any order" {
            let options = { isNumeric = true; isDescending = true; isUnique = false }
            Expect.equal (SortOptions.parse "desc,numeric") (Ok options) ""
            let unique = { options with isUnique = true }
            Expect.equal (SortOptions.parse "unique,numeric,desc") (Ok unique) ""
            Expect.equal (wire "sort: numeric,desc | sort") [ "sort:numeric,desc"; "sort" ] ""
        }

        test "an offer named like a built-in stage changes nothing" {
            let parsed = Pipeline.parse (HashSet [ "lower" ]) "lower"
            let kind = parsed |> Result.map _.stages[0].kind
            Expect.equal kind (Ok PerLine) ""
        }
    ]

let private refusals =
    testList "refusals" [
        test "an unknown stage, with what was meant" {
            refused "lowr" 0 "unknown stage 'lowr'; did you mean 'lower'?"
            refused "lower | pdftxt" 8 "unknown stage 'pdftxt'; did you mean 'pdf2txt'?"
            refused "lwoer" 0 "unknown stage 'lwoer'; did you mean 'lower'?"
            refused "LOWER" 0 "unknown stage 'LOWER'; did you mean 'lower'?"
            refused "strip-acents:x" 0 "unknown stage 'strip-acents'; did you mean 'strip-accents'?"
        }

        test "an unknown stage like no other, with those that are known" {
            refused
                "zip"
                0
                "unknown stage 'zip'; known are latin1, cp1252, utf-16, lower, upper, trim, squeeze, strip-accents, nfc, grep, replace, head, sort, uniq, freq, top, lines, words, bytes, ocr, pdf2txt, exec:jq, exec-lines:jq; a worker's own is known once it has joined, or by --expect 'zip'"
        }

        test "three letters away is too far to guess" {
            match parse "skweese" with
            | Error error ->
                Expect.stringStarts error.message "unknown stage 'skweese'; known are latin1" ""
            | Ok _ -> failtest "it is unknown"
        }

        test "nothing, and nothing between two bars" {
            refused "" 0 "the pipeline is empty"
            refused " \n" 0 "the pipeline is empty"
            refused "| lower" 0 "empty stage at character 1"
            refused "lower || trim" 7 "empty stage at character 8"
            refused "lower | " 8 "empty stage at character 9"
        }

        test "a name that is not one" {
            let expected name =
                $"stage name '{name}' is not made of letters, digits, '-', '_' and '.', with a letter or a digit first"

            refused "lower upper" 0 (expected "lower upper")
            refused "lower | :x" 8 (expected "")
            refused "-x" 0 (expected "-x")
            refused "último" 0 (expected "último")
        }

        test "arguments that are missing, too many or wrong" {
            refused "lower | upper:x" 8 "upper takes no argument"
            refused "grep" 0 "grep wants a text, as in grep:erro"
            refused "grep:\"\"" 0 "grep wants a text, as in grep:erro"

            for count in
                [ "head"; "head:"; "head:-1"; "head:1.5"; "head:x"; "head:9999999999999999999" ] do
                refused count 0 "head wants a whole number from 0, as in head:10"

            refused "top" 0 "top wants a whole number from 0, as in top:10"
            refused "freq:x" 0 "freq takes no argument"

            for words in [ "x"; "numeric,"; ",desc"; "desc,desc"; "numeric desc"; "Unique" ] do
                refused
                    $"sort:{words}"
                    0
                    "sort takes numeric, desc and unique, each at most once, as in sort:numeric,desc"

            refused
                "replace:a"
                0
                "replace wants two texts with a '/' between, as in replace:old/new"

            refused "replace:/a" 0 "replace wants a text before the '/', as in replace:old/new"
            refused "replace:a/b/c" 0 @"replace wants one '/'; those of the texts as \/"

            refused
                @"replace:\n/a"
                0
                @"replace wants each backslash written as \\ or, before a slash, \/"

            refused "grep:a\nb" 0 "grep works line by line: its argument has no line ends"
            refused "replace:a/\rb" 0 "replace works line by line: its argument has no line ends"
            refused ("ocr:" + string '\uD800') 0 "the argument of ocr is not valid Unicode"
        }

        test "a quote that stays open, or that something follows" {
            refused "lower | grep:\"a | trim" 13 "the quote at character 14 is not closed"
            refused "grep:\"a\" b" 9 "'|' expected at character 10, after the closing quote"
        }

        test "a word of a program's arguments in which the stage ends" {
            let open' =
                "exec, at character 4 of its argument: the quote at character 4 is not closed"

            refused
                "lower | exec:jq '.a | .b'"
                8
                $"{open'}: '|' ends the stage, unless its whole argument is in double quotes"

            refused "lower | exec:jq '.a" 8 open'
            refused "head:' | lower" 0 "head wants a whole number from 0, as in head:10"
            Expect.equal (wire "exec:\"jq '.a | .b'\" | lower") [ "exec:jq '.a | .b'"; "lower" ] ""
        }

        test "latin1 anywhere but first" {
            Expect.equal (wire "latin1 | lower") [ "latin1"; "lower" ] ""
            refused "lower | latin1" 8 "latin1 can only be the first stage"
        }

        test "more characters or stages than there may be" {
            let stages count =
                String.concat "|" (Seq.replicate count "trim")

            Expect.equal (wire (stages 64)).Length 64 ""
            refused (stages 65) 320 "a pipeline has at most 64 stages"
            Expect.equal (wire ("trim".PadRight 4_096)) [ "trim" ] ""
            refused ("trim".PadRight 4_097) 4_096 "a pipeline has at most 4096 characters"
        }
    ]

let private wireForm =
    testList "wire form" [
        test "the argument begins after the first colon and is kept as it is" {
            let parsed = Stage.parse "grep: a:b "

            Expect.equal
                parsed
                (Ok { name = "grep"; argument = " a:b "; kind = PerLine; demand = "grep" })
                ""
        }

        test "a stage that is not built in may have any argument" {
            let parsed = Stage.parse "minha.etapa:\n"

            Expect.equal
                parsed
                (Ok {
                    name = "minha.etapa"
                    argument = "\n"
                    kind = WholeFile
                    demand = "minha.etapa"
                })
                ""
        }

        test "built-in stages are checked here too" {
            Expect.isError (Stage.parse "head:x") ""
            Expect.isError (Stage.parse "lower:x") ""
            Expect.isError (Stage.parse "") ""
        }

        test "replace, with its escapes" {
            let parsed = Replacement.parse @"a\/b\\/\/\\"
            Expect.equal parsed (Ok { oldText = @"a/b\"; newText = @"/\" }) ""
        }
    ]

let private properties =
    testList "properties" [
        testProperty "what is printed is read back"
        <| Prop.forAll (Arb.fromGen pipeline) (fun pipeline ->
            Expect.equal (parse (Pipeline.print pipeline)) (Ok pipeline) (Pipeline.print pipeline))

        testProperty "a stage comes back from its wire form"
        <| Prop.forAll (Arb.fromGen stage) (fun stage ->
            Expect.equal (Stage.parse (Stage.toWire stage)) (Ok stage) "")

        testProperty "any text gives a pipeline that prints, or an error inside the text"
        <| Prop.forAll (Arb.fromGen text) (fun text ->
            match parse text with
            | Ok pipeline -> Expect.equal (parse (Pipeline.print pipeline)) (Ok pipeline) text
            | Error error ->
                Expect.isTrue (error.position >= 0 && error.position <= text.Length) text
                Expect.isNotEmpty error.message text)

        testProperty "replace: escaping and reading back"
        <| Prop.forAll (Arb.fromGen (Gen.zip (argument 1) (argument 0))) (fun (oldText, newText) ->
            Expect.equal
                (Replacement.parse $"{escaped oldText}/{escaped newText}")
                (Ok { oldText = oldText; newText = newText })
                "")
    ]

let private recorded = [
    test "what was accepted is read again as it is printed, also where that is longer" {
        let argument = String('x', Pipeline.lengthMax - "grep:|lower|lower".Length)
        let text = $"grep:{argument}|lower|lower"

        match Pipeline.parseAwaiting text with
        | Ok pipeline ->
            let printed = Pipeline.print pipeline
            Expect.isGreaterThan printed.Length Pipeline.lengthMax "blanks around each bar"
            Expect.equal (Pipeline.parseRecorded printed) (Ok pipeline) "the same"
        | Error error -> failtest error.message
    }
]

[<Tests>]
let tests =
    testList "pipeline" [ reading; refusals; wireForm; testList "recorded" recorded; properties ]
