module FsScheduler.Cli.Tests.QuantityTests

open Expecto
open FsScheduler.Core
open FsScheduler.Cli

let private durations = [
    "500ms", 500L<ms>
    "0ms", 0L<ms>
    "2s", 2_000L<ms>
    "5m", 300_000L<ms>
    "1.5h", 5_400_000L<ms>
    "0.25s", 250L<ms>
    "1d", 86_400_000L<ms>
    "5M", 300_000L<ms>
]

let private sizes = [
    "0B", 0L<B>
    "1B", 1L<B>
    "1KiB", 1_024L<B>
    "64MiB", 67_108_864L<B>
    "1.5gib", 1_610_612_736L<B>
    "1TiB", 1_099_511_627_776L<B>
]

let private wrong = [
    ""
    "5"
    "m"
    "5 m"
    " 5m"
    "-5m"
    "+5m"
    "1,5h"
    "1..5h"
    "1e3s"
    "٥m"
    "5w"
    "99999999999999999999999999999999d"
    "1000000d" + "0"
]

[<Tests>]
let tests =
    testList "quantities" [
        for text, expected in durations do
            test $"the duration {text}" { Expect.equal (Quantity.duration text) (Ok expected) text }

        for text, expected in sizes do
            test $"the size {text}" { Expect.equal (Quantity.size text) (Ok expected) text }

        for text in wrong do
            test $"'{text}' is refused and repeated" {
                match Quantity.duration text with
                | Ok value -> failtest $"{value}"
                | Error message ->
                    Expect.stringStarts message $"'{text}' is not a duration" "says what"
                    Expect.stringContains message "ms, s, m, h, d" "names the units"
            }

        for text, size in sizes do
            if text <> "1.5gib" then
                test $"{text} is written as it was" {
                    Expect.equal (Quantity.ofSize size) text text
                }

        test "a size is written in the largest unit that gives a whole number" {
            Expect.equal (Quantity.ofSize 1_610_612_736L<B>) "1536MiB" "1.5 GiB"
            Expect.equal (Quantity.ofSize 1_025L<B>) "1025B" "1 KiB and 1"
        }

        test "a size is not a duration" {
            Expect.isError (Quantity.size "5m") "m"
            Expect.isError (Quantity.duration "5MiB") "MiB"
        }

        test "the largest size fits into a JSON integer" {
            Expect.isError (Quantity.size "1024TiB") "2^50"
            Expect.isOk (Quantity.size "1023TiB") "less"
        }
    ]
