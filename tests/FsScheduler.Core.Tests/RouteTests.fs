module FsScheduler.Core.Tests.RouteTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.TestKit.SchedulerFixture

let private route text =
    match Route.parse (HashSet [ "ocr" ]) text with
    | Ok route -> route
    | Error message -> failtest message

let private matches pattern names others =
    test $"'{pattern}'" {
        let route = route $"{pattern}=lower"

        for name in names do
            Expect.isTrue (Route.isMatch (taskName name) route) name

        for name in others do
            Expect.isFalse (Route.isMatch (taskName name) route) name
    }

let private refusal (text: string) (part: string) =
    test $"'{text}' is refused" {
        match Route.parse (HashSet()) text with
        | Ok _ -> failtest "taken"
        | Error message -> Expect.stringContains message part "message"
    }

[<Tests>]
let tests =
    testList "a route" [
        testList "matches" [
            matches "*.csv" [ "a.csv"; "sub/a.csv"; "a/b/.csv" ] [ "a.csv.txt"; "acsv"; "csv" ]
            matches "sub/*.csv" [ "sub/a.csv" ] [ "a.csv"; "x/sub/a.csv"; "sub/b/a.csv" ]
            matches "sub/**" [ "sub/a"; "sub/b/c" ] [ "sub"; "subway/a" ]
            matches "**/x/*.txt" [ "x/a.txt"; "a/x/b.txt"; "a/b/x/c.txt" ] [
                "ax/a.txt"
                "x/b/a.txt"
            ]
            matches "**" [ "a"; "a/b/c.txt" ] []
            matches "nota?.txt" [ "nota1.txt"; "x/notaé.txt" ] [ "nota.txt"; "nota12.txt" ]
            matches "a+b(1).txt" [ "a+b(1).txt" ] [ "aab1.txt"; "a+b(1)xtxt" ]
            matches "órgão*" [ "órgão.txt" ] [ "orgao.txt"; "ÓRGÃO.txt" ]
        ]

        test "keeps its pipeline, also with a '=' in it" {
            let route = route "*.log = grep:a=b | ocr"
            Expect.equal (string route.pattern) "*.log" "pattern"
            Expect.equal route.pipeline.wire [| "grep:a=b"; "ocr" |] "pipeline"
        }

        test "is the first one that fits" {
            let routes = [ route "*.csv=words"; route "**=lower" ]

            let wire name =
                Route.tryFind routes (taskName name)
                |> Option.map (fun route -> List.ofArray route.pipeline.wire)

            Expect.equal (wire "a.csv") (Some [ "words" ]) "csv"
            Expect.equal (wire "a.txt") (Some [ "lower" ]) "txt"
            Expect.isNone (Route.tryFind [ route "*.csv=words" ] (taskName "a.txt")) "none"
        }

        testList "of bad text" [
            refusal "lower" "no '='"
            refusal "=lower" "no pattern"
            refusal "*.csv=lowr" "did you mean 'lower'"
            refusal "*.csv=" "the pipeline is empty"
            refusal "/abs/*=lower" "relative to the input folder"
            refusal @"a\*=lower" "write '/'"
            refusal "*.{csv=lower" "is not closed"
        ]

        testList "that no file goes through" [
            let unused patterns names =
                Route.unused
                    [ for pattern in patterns -> route $"{pattern}=lower" ]
                    (List.map taskName names)

            test "is named" {
                Expect.equal
                    (unused [ "*.txt"; "*.tsv" ] [ "a.txt"; "b.csv" ])
                    [ "the route '*.tsv' fits none of the files" ]
                    "sentences"
            }

            test "is named with what differs only in case" {
                Expect.equal
                    (unused [ "*.CSV" ] [ "a.txt"; "sub/dados.csv" ])
                    [
                        "the route '*.CSV' fits none of the files; 'sub/dados.csv' differs only in upper and lower case"
                    ]
                    "sentences"
            }

            test "since one before it takes them" {
                Expect.equal
                    (unused [ "**"; "*.csv" ] [ "a.csv" ])
                    [
                        "the route '*.csv' is never the first that fits: 'a.csv' goes through one before it"
                    ]
                    "sentences"
            }

            test "is nothing to say of where there are no files" {
                Expect.isEmpty (unused [ "*.csv" ] []) "sentences"
            }
        ]
    ]
