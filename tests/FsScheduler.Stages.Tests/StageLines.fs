/// Texts for stages that put lines in order.
module FsScheduler.Stages.Tests.StageLines

open System
open FsCheck.FSharp

/// What a line is made of: numbers in all forms, beginnings in common, and what is at the edge of UTF-8.
let private fragment =
    Gen.frequency [
        4,
        Gen.elements [
            "10"
            "9"
            "-3"
            "-3.5"
            "+7"
            "007"
            " 12 x"
            "\u00A05"
            "1e5"
            ".5"
            "0.50"
            "-0"
        ]
        2,
        Gen.elements [
            "123456789012345678901234567890"
            "123456789012345678901234567891.5"
            "-12345678901234567890.1"
            "0.0000000000000000000000000000001"
            "0.00000000000000000000000000000011"
        ]
        4,
        Gen.elements [
            ""
            "a"
            "b"
            "a b a"
            "\r"
            "\t"
            "\u0000"
            "é"
            "ção"
            "中"
            "😀"
            "\uFFFD"
            "\uE000"
        ]
        3,
        Gen.map2
            (fun common last -> common + string last)
            (Gen.elements [ "2026-11-25 host-1 "; "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" ])
            (Gen.choose (0, 30))
        1, Gen.choose (1, 600) |> Gen.map (fun length -> String('x', length))
    ]

let private line =
    Gen.choose (0, 2)
    |> Gen.bind (fun count -> Gen.listOfLength count fragment)
    |> Gen.map (String.concat "")

/// Valid UTF-8, with a newline at its end or without.
let lines =
    gen {
        let! count = Gen.frequency [ 4, Gen.choose (0, 8); 2, Gen.choose (9, 150) ]
        let! lines = Gen.listOfLength count line
        let! ending = Gen.elements [ ""; "\n" ]
        return String.concat "\n" lines + ending
    }
