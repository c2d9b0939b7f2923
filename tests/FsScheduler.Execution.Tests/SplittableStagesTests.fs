/// A worker's own stages that can be run on pieces.
module FsScheduler.Execution.Tests.SplittableStagesTests

open System
open System.Text
open System.Threading
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Execution

let private runPiece piece (functions: (string * StageFunction) list) name (text: string) =
    let call = {
        argument = ""
        name = "n"
        attempt = { task = 1L<taskId>; number = 1 }
        piece = piece
        payload = ReadOnlyMemory(Encoding.UTF8.GetBytes text)
        cancellation = CancellationToken.None
    }

    let functions = dict functions
    let result = functions[name].Invoke(call).Result
    Encoding.UTF8.GetString result.Span

let private run functions = runPiece ValueNone functions

/// Leaves out what begins with a dash.
let private shout =
    SplittableStages.perLine "shout" (fun line ->
        if line.StartsWith '-' then
            None
        else
            Some(line.ToUpperInvariant() + "!"))

/// The lines, numbered from the end: their order shows, and so does whether one is there twice.
let private rows: Aggregate<string list> = {
    seed = fun () -> []
    add = fun lines line -> line :: lines
    merge = fun left right -> right @ left
    result =
        fun lines -> lines |> List.mapi (fun index line -> $"{index} {line}\n") |> String.concat ""
    write = String.concat "\t"
    read = fun text -> if text = "" then [] else List.ofArray (text.Split '\t')
}

let private numbered = SplittableStages.aggregate "rows" rows

/// Whole lines in each piece.
let private pieces =
    let line = Gen.elements [ "um\n"; "-dois\r\n"; "três\n"; "a b\r\n"; "4\n" ]

    gen {
        let! pieces = Gen.listOf (Gen.map (String.concat "") (Gen.nonEmptyListOf line))
        let! last = Gen.elements [ []; [ "sem fim" ]; [ "-x" ]; [ "x\r" ] ]
        return pieces @ last
    }
    |> Arb.fromGen

[<Tests>]
let tests =
    testList "own stages" [
        test "a byte order mark is no character of the first line, and stays where lines do" {
            for piece in [ ValueNone; ValueSome 0 ] do
                Expect.equal (runPiece piece shout "shout" "\uFEFF-a\nb\n") "\uFEFFB!\n" "a line"
                Expect.equal (runPiece piece shout "shout.lines" "\uFEFF") "\uFEFF" "none"
                Expect.equal (runPiece piece numbered "rows" "\uFEFFa\n") "0 a\n" "all"
                Expect.equal (runPiece piece numbered "rows.part" "\uFEFFa\n") "a\n" "a part"

            Expect.equal
                (runPiece (ValueSome 1) shout "shout.lines" "\uFEFF-a\n")
                "\uFEFF-A!\n"
                "later"

            Expect.equal (runPiece (ValueSome 1) numbered "rows.part" "\uFEFFa") "\uFEFFa\n" "later"
        }

        test "do the same with each line, and keep its end" {
            let run = run shout "shout"
            Expect.equal (run "a\r\nb\n\n-c\r\nd") "A!\r\nB!\n!\nD!" "lines"
            Expect.equal (run "") "" "nothing"
            Expect.equal (run "-a\n") "" "left out"
        }

        test "are known by what is offered for pieces" {
            Expect.equal (List.map fst shout) [ "shout"; "shout.lines" ] "per line"
            Expect.equal (List.map fst numbered) [ "rows"; "rows.part"; "rows.merge" ] "all lines"
        }

        test "refuse to write a state of two lines" {
            let broken =
                SplittableStages.aggregate "broken" { rows with write = String.concat "\n" }

            Expect.throwsC (fun () -> run broken "broken.part" "a\nb" |> ignore) (fun error ->
                match error with
                | :? StageException as error ->
                    Expect.stringContains error.Message "broken" "which"
                    Expect.isFalse error.Retry "no other attempt"
                | other -> failtest $"{other}")
        }

        testProperty "give the same for pieces, one behind the other"
        <| Prop.forAll pieces (fun pieces ->
            let whole = String.concat "" pieces

            let parts form =
                pieces |> List.map (run shout form) |> String.concat ""

            Expect.equal (parts "shout.lines") (run shout "shout" whole) "lines")

        testProperty "give the same for pieces, merged"
        <| Prop.forAll pieces (fun pieces ->
            let whole = String.concat "" pieces
            let parts = pieces |> List.map (run numbered "rows.part") |> String.concat ""
            Expect.equal (run numbered "rows.merge" parts) (run numbered "rows" whole) "all lines")
    ]
