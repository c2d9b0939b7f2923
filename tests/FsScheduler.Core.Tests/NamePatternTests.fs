module FsScheduler.Core.Tests.NamePatternTests

open System
open System.Text
open Expecto
open FsCheck.FSharp
open FsScheduler.Core

let private pattern text =
    match NamePattern.parse text with
    | Ok pattern -> pattern
    | Error message -> failtest $"'{text}' was refused: {message}"

let private matches text names others =
    test $"'{text}'" {
        let pattern = pattern text

        for name in names do
            Expect.isTrue (NamePattern.isMatch name pattern) $"'{name}' fits"

        for name in others do
            Expect.isFalse (NamePattern.isMatch name pattern) $"'{name}' does not"
    }

let private refusal (text: string) (part: string) =
    test $"'{text}' is refused" {
        match NamePattern.parse text with
        | Ok _ -> failtest "taken"
        | Error message -> Expect.stringContains message part "message"
    }

let private longest = String('x', TaskName.bytesMax + 1)

/// A pattern without braces, by its definition: every way in which a star can be taken is tried.
let rec private means (pattern: string list) (name: string list) =
    match pattern, name with
    | [], [] -> true
    | "**/" :: rest, _ ->
        means rest name
        || (match List.tryFindIndex ((=) "/") name with
            | Some slash -> means pattern (List.skip (slash + 1) name)
            | None -> false)
    | "*" :: rest, [] -> means rest name
    | "*" :: rest, one :: others -> means rest name || one <> "/" && means pattern others
    | "?" :: rest, one :: others -> one <> "/" && means rest others
    | "[ab]" :: rest, one :: others -> (one = "a" || one = "b") && means rest others
    | "[!a-b]" :: rest, one :: others -> one <> "/" && one <> "a" && one <> "b" && means rest others
    | one :: rest, first :: others -> one = first && means rest others
    | [], _ :: _
    | _ :: _, [] -> false

let private parts gen =
    Gen.choose (1, 3)
    |> Gen.bind (fun count -> Gen.listOfLength count (gen |> Gen.filter (List.isEmpty >> not)))

let private characters = [ "a"; "b"; "é"; "😀"; "." ]

let private name =
    parts (
        Gen.choose (1, 5)
        |> Gen.bind (fun n -> Gen.listOfLength n (Gen.elements characters))
    )
    |> Gen.map (fun parts -> parts |> List.reduce (fun left right -> left @ [ "/" ] @ right))

/// No two stars in a row, which are refused.
let private isApart tokens =
    List.pairwise tokens |> List.forall (fun pair -> pair <> ("*", "*"))

let private globs =
    parts (
        Gen.choose (1, 4)
        |> Gen.bind (fun count ->
            Gen.listOfLength count (Gen.elements ("*" :: "?" :: "[ab]" :: "[!a-b]" :: characters)))
        |> Gen.filter isApart
    )
    |> Gen.bind (fun parts ->
        Gen.listOfLength parts.Length (Gen.elements [ []; []; [ "**/" ] ])
        |> Gen.map (fun heads ->
            List.map2 (@) heads parts
            |> List.reduce (fun left right -> left @ [ "/" ] @ right)))

let private isOfDots (tokens: string list) =
    (String.Concat tokens).Split '/'
    |> Array.exists (fun part -> part = "." || part = "..")

[<Tests>]
let tests =
    testList "a pattern" [
        testList "matches" [
            matches "*.csv" [ "a.csv"; "sub/a.csv" ] [ "a.csv.txt"; "a.CSV" ]
            matches "*.{csv,tsv}" [ "a.csv"; "sub/b.tsv" ] [ "a.txt"; "a.{csv,tsv}" ]
            matches "a{,.gz}" [ "a"; "a.gz"; "x/a" ] [ "a,"; "b" ]
            matches "{a,b{1,2}}.txt" [ "a.txt"; "b1.txt"; "b2.txt" ] [ "b.txt"; "a1.txt" ]
            matches "{sub,out}/*" [ "sub/a"; "out/b" ] [ "x/sub/a"; "a" ]
            matches "{*.csv,x/*.tsv}" [ "a.csv"; "y/a.csv"; "x/a.tsv" ] [ "a.tsv" ]
            matches "{a/,}b" [ "a/b"; "b"; "c/b" ] [ "a" ]
            matches "[ab]*" [ "a1"; "b"; "sub/bc" ] [ "c"; "ca" ]
            matches "[!a-c]*" [ "d"; "é" ] [ "a"; "b1" ]
            matches "[^a-c]?" [ "dx" ] [ "ax"; "d" ]
            matches "nota[0-9][0-9].txt" [ "nota12.txt" ] [ "nota1.txt"; "notaab.txt" ]
            matches "[]a]" [ "]"; "a" ] [ "b" ]
            matches "[a-]" [ "a"; "-" ] [ "b" ]
            matches "[*][?][[][{]" [ "*?[{" ] [ "ab[{" ]
            matches "[çé].txt" [ "ç.txt"; "e\u0301.txt" ] [ "c.txt"; "e.txt" ]
            matches "./*.csv" [ "a.csv" ] [ "sub/a.csv" ]
            matches "./**/*.csv" [ "a.csv"; "sub/a.csv" ] [ "a.txt" ]
            matches "a/**/b" [ "a/b"; "a/x/b"; "a/x/y/b" ] [ "ab"; "a/xb" ]
            matches "**/a/**/b/*" [ "a/b/c"; "x/a/y/a/b/c" ] [ "a/b"; "b/a/c" ]
            matches "ação*" [ "ação.txt"; "ac\u0327a\u0303o.txt" ] [ "acao.txt" ]
            matches "ac\u0327a\u0303o*" [ "ação.txt" ] [ "acao.txt" ]
            matches "?.txt" [ "a.txt"; "😀.txt"; "e\u0301.txt"; "é.txt" ] [ "ab.txt"; ".txt" ]
            matches "??.txt" [ "❤\uFE0F.txt"; "ab.txt" ] [ "😀.txt" ]
            matches "foto*(1).jpg" [ "foto a(1).jpg" ] [ "foto.jpg" ]
            matches "a+b^$.|x" [ "a+b^$.|x" ] [ "aab" ]
            matches "*\uFFFE*" [ "a\uFFFEb" ] [ "ab" ]
        ]

        testList "of bad text" [
            refusal "" "is empty"
            refusal " " "is empty"
            refusal "/a/*.csv" "relative to the input folder"
            refusal "~/a/*.csv" "relative to the input folder"
            refusal "../*.csv" "below the input folder"
            refusal "a/./b" "below the input folder"
            refusal "cartas/" "write 'cartas/**'"
            refusal "{a,b/}" "write 'b/**'"
            refusal "a//b" "write 'a/b'"
            refusal @"sub\*.csv" "write '/'"
            refusal @"\*.csv" "[*]"
            refusal "*.{csv,tsv" "'{' is not closed"
            refusal "*.csv}" "'}' closes nothing"
            refusal "*.{csv}" "write csv"
            refusal "a{1..3}" "is a sequence"
            refusal "[ab" "'[' is not closed"
            refusal "[]" "'[' is not closed"
            refusal "[z-a]" "goes backwards"
            refusal "[a/b]" "never in brackets"
            refusal "[+-9]" "never in brackets"
            refusal "[[:digit:]]*" "[0-9]"
            refusal "a**.csv" "'**' stands for whole parts"
            refusal "***" "'**' stands for whole parts"
            refusal "@(csv|tsv)" "{csv,tsv}"
            refusal "*.(csv|tsv)" "{csv,tsv}"
            refusal "+(a).csv" "[(]"
            refusal "!(a).csv" "[(]"
            refusal longest "more than 2000 characters"
            refusal (String.replicate 9 "{a,b}") "more than 256"
            refusal (String.replicate 400 "{a,b}") "more than 256"
        ]

        test "with parentheses that mean nothing in a shell" {
            for text in [ "foto (1).txt"; "foto *[(]1).txt"; "foto (?).txt" ] do
                match NamePattern.parse text with
                | Ok pattern -> Expect.isTrue (NamePattern.isMatch "foto (1).txt" pattern) text
                | Error message -> failtest message
        }

        test "that begins with the input folder is refused with what to write" {
            let fault = NamePattern.insideFault

            for folder in [ "entrada"; "./entrada"; "entrada/" ] do
                Expect.stringContains
                    (Option.get (fault folder "entrada/*.csv"))
                    "write './*.csv', or './entrada/*.csv'"
                    folder

            Expect.isNone (fault "entrada" "./entrada/*.csv") "one that is meant"
            Expect.isNone (fault "entrada" "entradas/*.csv") "another"
            Expect.isNone (fault "entrada" "entrada") "a file"
            Expect.isNone (fault "." "a/*.csv") "the folder itself"
            Expect.isSome (fault "a/b" "a/b/c") "two parts"
        }

        test "without regard to case, for what is said to a person" {
            for text, name in
                [
                    "*.CSV", "a.csv"
                    "[A-C]x", "bX"
                    "ÓRGÃO", "órgão"
                    "sub/*.{TXT,Md}", "SUB/a.md"
                ] do
                let pattern = pattern text
                Expect.isFalse (NamePattern.isMatch name pattern) $"'{name}' does not fit '{text}'"
                Expect.isTrue (NamePattern.isMatchIgnoringCase name pattern) $"'{name}' nearly"
        }

        test "of many stars takes no longer for it" {
            let stars = pattern (String.replicate 400 "*a" + "b")
            Expect.isFalse (NamePattern.isMatch (String('a', 1_900)) stars) "it does not fit"
            let folders = pattern (String.replicate 100 "**/a/" + "b")
            let deep = String.replicate 900 "a/" + "c"
            Expect.isFalse (NamePattern.isMatch deep folders) "it does not fit"
        }

        testPropertyWithConfig
            { FsCheckConfig.defaultConfig with maxTest = 2_000 }
            "does what it means, also where a name is composed otherwise"
        <| Prop.forAll (Arb.fromGen (Gen.zip globs name)) (fun (tokens, name) ->
            if not (isOfDots tokens) then
                let text = String.Concat tokens
                // Without a slash it is for any folder.
                let anywhere = if text.Contains '/' then tokens else "**/" :: tokens
                let path = String.Concat name
                let expected = means anywhere name
                Expect.equal (NamePattern.isMatch path (pattern text)) expected $"{text} {path}"

                Expect.equal
                    (NamePattern.isMatch
                        (path.Normalize NormalizationForm.FormD)
                        (pattern (text.Normalize NormalizationForm.FormD)))
                    expected
                    $"{text} {path}, decomposed")
    ]
