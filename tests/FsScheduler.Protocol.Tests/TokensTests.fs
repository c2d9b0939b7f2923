module FsScheduler.Protocol.Tests.TokensTests

open System
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol

let private good = "0123456789abcdef"

let private refuses name text (starts: string) =
    test name {
        match Tokens.parse text with
        | Ok _ -> failtest "not refused"
        | Error reason ->
            Expect.stringStarts reason starts "where and why"
            Expect.isFalse (reason.Contains good) "never the token itself"
    }

let private parsed text =
    match Tokens.parse text with
    | Ok tokens -> tokens
    | Error reason -> failtest reason

[<Tests>]
let tests =
    testList "tokens" [
        test "of both roles, with comments, blank lines, tabs and any line ends" {
            let tokens =
                parsed
                    $"\uFEFF# ours\r\n#{good}x\r\n\r\n  worker \t {good}w\r\n  # client {good}x\nclient {good}c\nworker {good}w"

            Expect.isTrue (tokens.Admit(Role.Worker None, Some(good + "w"))) "the worker's"
            Expect.isTrue (tokens.Admit(Role.Client, Some(good + "c"))) "the client's"

            for token in [ None; Some ""; Some good; Some(good + "x"); Some(good + "W") ] do
                Expect.isFalse (tokens.Admit(Role.Worker None, token)) "no worker's"
                Expect.isFalse (tokens.Admit(Role.Client, token)) "no client's"

            Expect.isFalse (tokens.Admit(Role.Client, Some(good + "w"))) "not of the other role"

            Expect.isFalse
                (tokens.Admit(Role.Worker None, Some(good + "c")))
                "not of the other role"
        }
        test "of one role open nothing to the other" {
            let tokens = parsed $"worker {good}"
            Expect.isTrue (tokens.Admit(Role.Worker(Some [||]), Some good)) "the worker's"
            Expect.isFalse (tokens.Admit(Role.Client, Some good)) "no client's"
            Expect.isFalse (tokens.Admit(Role.Client, None)) "none at all"
        }
        refuses "not there at all" "# nothing\n\n" "the file has no token"
        refuses "over 1,000 bytes" ("worker " + String('é', 501)) "line 1: "
        refuses "missing" "\nworker \n" "line 2: the token is missing"
        refuses "with a blank" $"client {good} {good}" "line 1: a token has no blanks"
        refuses "of another role" $"boss {good}" "line 1: write"
        refuses "of a role in capitals" $"Worker {good}" "line 1: write"
        refuses "without a role" good "line 1: write"
        refuses
            "of both roles"
            $"worker {good}\nworker {good}x\n\nclient {good}"
            "line 4: this token is already one of the other role, on line 1"
        refuses
            "too many"
            (String.concat "\n" [ for i in 1..1_001 -> $"worker {good}{i}" ])
            "line 1001: there are more than 1000 tokens"
        test "of the shortest and the longest" {
            parsed $"worker {good}\nclient {String('x', 1_000)}" |> ignore
        }
    ]
