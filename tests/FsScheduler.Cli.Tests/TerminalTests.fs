/// What command lines, locales and terminals ask for.
module FsScheduler.Cli.Tests.TerminalTests

open System
open System.Text
open Expecto
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Cli

let private encoded (charset: string) (text: string) =
    let encoding = Option.get (Terminal.transliterating charset)
    encoding.GetString(encoding.GetBytes text)

/// Looks with these variables in the environment, which is as before afterwards.
let private withVariables (variables: (string * string) list) (look: unit -> 'answer) : 'answer =
    let before = [ for name, _ in variables -> name, Environment.GetEnvironmentVariable name ]

    try
        for name, value in variables do
            Environment.SetEnvironmentVariable(name, value)

        look ()
    finally
        for name, value in before do
            Environment.SetEnvironmentVariable(name, value)

let private environment =
    testSequenced (
        testList "the environment" [
            for variable, value, hasColours in
                [
                    "NO_COLOR", "", true
                    "NO_COLOR", "1", false
                    "CLICOLOR", "0", false
                    "CLICOLOR", "1", true
                    "TERM", "dumb", false
                ] do
                test $"{variable}={value}" {
                    let others = [ "NO_COLOR", ""; "CLICOLOR", ""; "TERM", "xterm" ]

                    Expect.equal
                        (withVariables (others @ [ variable, value ]) Terminal.hasColours)
                        hasColours
                        "colours"
                }

            test "COLUMNS" {
                Expect.equal (withVariables [ "COLUMNS", "33" ] Terminal.width) 33 "columns"
            }
        ]
    )

[<Tests>]
let tests =
    testList "command lines" [
        environment

        for locale, charset in
            [
                "pt_BR.ISO-8859-1", Some "ISO-8859-1"
                "de_DE.ISO-8859-15@euro", Some "ISO-8859-15"
                "C", None
                "POSIX", None
                "pt_BR", None
                "C.UTF-8", Some "UTF-8"
            ] do
            test $"the charset of {locale}" {
                Expect.equal (Terminal.charsetOf locale) charset "charset"
            }

        test "what a charset lacks is written in letters that it has" {
            Expect.equal
                (encoded "ISO-8859-1" "ação… “aspas” – ế € 日 │─")
                "ação... \"aspas\" - e EUR ? |-"
                "latin"

            Expect.equal (encoded "KOI8-R" "привет, ação") "привет, acao" "cyrillic"
            Expect.equal (encoded "US-ASCII" "ção 👍") "cao ?" "ascii"
        }

        test "a charset that is UTF-8, or that nobody knows, changes nothing" {
            Expect.isNone (Terminal.transliterating "UTF-8") "UTF-8"
            Expect.isNone (Terminal.transliterating "NIX-7") "unknown"
        }

        test "an argument that is not UTF-8 is found, and shown" {
            let args (bytes: byte[]) =
                Array.concat [ "fs\000--entrada\000"B; bytes; "\000ol\000"B ]

            Expect.equal (Terminal.findForeign (args [| 'c'B; 0xE9uy |])) (Some "c\\xE9") "latin1"
            Expect.isNone (Terminal.findForeign (args (Encoding.UTF8.GetBytes "cé"))) "UTF-8"
            Expect.equal (Terminal.findForeign [| 0xFFuy |]) (Some "\\xFF") "without an end"
        }

        test "-h is help, and --option=value two words, up to --" {
            let names = [ "--connect"; "--help" ]

            Expect.equal
                (OptionHints.normalize names [| "-h"; "--connect=a:1"; "--x=y"; "--"; "-h" |])
                [| "--help"; "--connect"; "a:1"; "--x=y"; "--"; "-h" |]
                "words"

            Expect.isTrue (OptionHints.asksVersion [| "--version" |]) "version"
            Expect.isFalse (OptionHints.asksVersion [| "--"; "--version" |]) "somebody else's"
        }

        test "an option for a file or a folder is never empty" {
            let empty args = OptionHints.findEmpty args
            Expect.equal (empty [| "--once"; "--state"; "" |]) (Some "--state") "a folder"
            Expect.equal (empty [| "--joblog"; "+" |]) (Some "--joblog") "a file to add to"
            Expect.isNone (empty [| "--pipeline"; ""; "--out"; "" |]) "these have a default"
            Expect.isNone (empty [| "--"; "--state"; "" |]) "somebody else's"
        }

        test "what others wrote is shown, and does nothing in a terminal" {
            Expect.equal (Terminal.printable "a\u001b[2J\n\u009b") "a?[2J??" "on a line"
            Expect.equal (Terminal.printableLines "a\u001b[2J\n\tb\r\n") "a?[2J\n\tb?\n" "of lines"
        }

        test "an option that is not known is told from one that is near" {
            let names = [ "--connect"; "--json" ]

            Expect.equal
                (OptionHints.unknown names "--conect")
                "there is no option '--conect'; did you mean '--connect'?"
                "near"

            Expect.equal (OptionHints.unknown names "--nix") "there is no option '--nix'" "far"
        }
    ]
