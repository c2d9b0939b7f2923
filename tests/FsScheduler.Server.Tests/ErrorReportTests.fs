module FsScheduler.Server.Tests.ErrorReportTests

open System
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Server

[<Tests>]
let tests =
    testList "the report of an error" [
        test "has no escape sequence of a terminal" {
            let trouble = {
                attempt = 1
                cause = Cause.TaskError
                stages = "exec:x"
                worker = "w"
                error = "ended with exit code 3: um\n\u001b[2Jdois"
                at = Instant.zero
            }

            let report =
                ErrorReport.write (fun _ -> DateTimeOffset.UnixEpoch) 1L<taskId> "a" [ trouble ]

            Expect.stringContains report "exit code 3: um\n?[2Jdois\n" "in NAME.err"
            Expect.isFalse (report.Contains '\u001b') "no escape"
        }
    ]
