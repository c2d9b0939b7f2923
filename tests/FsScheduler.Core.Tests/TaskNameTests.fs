module FsScheduler.Core.Tests.TaskNameTests

open System
open System.IO
open Expecto
open FsCheck.FSharp
open FsScheduler.Core

let private accepted text =
    Expect.equal (TaskName.parse text |> Result.map string) (Ok text) ""

let private refused (text: string) reason =
    Expect.equal (TaskName.parse text) (Error reason) text

// Characters, because the compiler writes half a pair in a string as U+FFFD.
let private high = string '\uD83D'
let private low = string '\uDE00'

/// Paths put together from what tries to leave a folder and from what does not.
let private path =
    Gen.elements [
        "a"
        "."
        ".."
        "/"
        "\\"
        "\000"
        "\n"
        "é"
        high
        low
        "\uFFFD"
        "😀"
        " "
        "..a"
        "~"
        "C:"
    ]
    |> Gen.listOf
    |> Gen.map (String.concat "")

[<Tests>]
let tests =
    testList "task name" [
        test "relative paths are names" {
            accepted "exemplo1.txt"
            accepted "2024/março/relatório final.txt"
            accepted ".hidden"
            accepted "..."
            accepted "a..b/..c"
            accepted "😀.txt"
            accepted @"C:\a"
        }

        test "what would lead out of the folder is not" {
            refused "/etc/passwd" "it is absolute; use a path relative to the folder"
            refused ".." "the part '..' could lead out of its folder"
            refused "a/../../b" "the part '..' could lead out of its folder"
            refused "./a" "the part '.' could lead out of its folder"
        }

        test "nor is an empty name or part" {
            refused "" "it is empty"
            refused "a//b" "it has an empty part"
            refused "a/" "it has an empty part"
        }

        test "nor control characters, also those above ASCII" {
            for character in [ "\000"; "\n"; "\u001F"; "\u007F"; "\u0085" ] do
                refused $"a{character}b" "it has a control character"
        }

        test "nor what is not Unicode" {
            for half in [ high; "a" + low; high + "a"; low + high; "e\u0301" + high; "\uFFFD" ] do
                refused half "it is not valid Unicode"
        }

        test "a part has at most 200 bytes, a name 2,000" {
            accepted (String('a', 200))
            refused (String('a', 201)) "one of its parts is over 200 bytes"
            accepted (String('é', 100))
            refused (String('é', 100) + "a") "one of its parts is over 200 bytes"

            let parts count =
                String.Join('/', Seq.replicate count (String('a', 199)))

            accepted (parts 10)
            refused (parts 10 + "/b") "it is over 2000 bytes"
        }

        testProperty "every name stays inside its folder and survives UTF-8"
        <| Prop.forAll (Arb.fromGen path) (fun text ->
            match TaskName.parse text with
            | Error reason -> Expect.isNotEmpty reason text
            | Ok name ->
                let folder = Path.GetFullPath "folder" + string Path.DirectorySeparatorChar
                let full = Path.GetFullPath(Path.Combine(folder, TaskName.toString name))
                Expect.isTrue (full.StartsWith(folder, StringComparison.Ordinal)) text
                Expect.isTrue (full.Length > folder.Length) text
                let strict = Text.UTF8Encoding(false, true)
                Expect.equal (strict.GetString(strict.GetBytes text)) text "")
    ]
