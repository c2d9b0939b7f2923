/// The addresses that a worker or a client connects to.
module FsScheduler.Execution.Tests.SchedulerAddressTests

open Expecto
open FsScheduler.Protocol

[<Tests>]
let tests =
    testList "worker" [
        testList "addresses" [
            for text, host, port in
                [
                    "127.0.0.1:7070", "127.0.0.1", 7070
                    "a.example:1", "a.example", 1
                    "[::1]:65535", "::1", 65535
                ] do
                test text {
                    match SchedulerAddress.parse text with
                    | Ok address -> Expect.equal (address.Host, address.Port) (host, port) text
                    | Error message -> failtest message
                }

            for text in [ ""; "here"; ":7070"; "here:"; "here:0"; "here:65536"; "here:x" ] do
                test $"'{text}' is refused" {
                    match SchedulerAddress.parse text with
                    | Ok _ -> failtest "it was taken"
                    | Error message ->
                        Expect.stringContains message "HOST:PORT" "says what is wanted"
                }
        ]
    ]
