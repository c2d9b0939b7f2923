/// When `submit --halt` stops.
module FsScheduler.Scheduler.Tests.HaltRuleTests

open Expecto
open FsScheduler.Scheduler

let private halts = [
    // A rule, and whether it is met by so many of all, succeeded and failed.
    "never", 10, 0, 9, false
    "0", 10, 0, 9, false
    "1", 10, 0, 1, true
    "2", 10, 0, 1, true
    "soon,fail=2", 10, 5, 1, false
    "soon,fail=2", 10, 5, 2, true
    "now,success=1", 10, 1, 0, true
    "now,success=2", 10, 1, 5, false
    "soon,done=3", 10, 1, 1, false
    "soon,done=3", 10, 1, 2, true
    "soon,fail=10%", 10, 0, 2, false
    "soon,fail=10%", 10, 2, 1, true
    "now,fail=50%", 10, 3, 4, false
    "now,fail=50%", 10, 3, 5, true
]

[<Tests>]
let tests =
    testList "halt rules" [
        for text, total, succeeded, failed, isMet in halts do
            test $"--halt {text} after {succeeded} and {failed} of {total}" {
                match HaltRule.parse text with
                | Ok(Some rule) ->
                    Expect.equal (HaltRule.isMet total succeeded failed rule) isMet "met"
                | Ok None -> Expect.isFalse isMet "never"
                | Error message -> failtest message
            }

        test "--halt now and soon differ in what becomes of the others" {
            let mode text =
                HaltRule.parse text |> Result.map (Option.map _.mode)

            Expect.equal (mode "now,fail=1") (Ok(Some HaltMode.Now)) "now"
            Expect.equal (mode "soon,fail=1") (Ok(Some HaltMode.Soon)) "soon"
            Expect.equal (mode "1") (Ok(Some HaltMode.Soon)) "1"
            Expect.equal (mode "2") (Ok(Some HaltMode.Now)) "2"
        }

        for text in
            [
                ""
                "now"
                "later,fail=1"
                "now,fail"
                "now,fail=0"
                "now,fail=101%"
                "now,nix=1"
                "now=fail=1"
                "now,fail,1"
            ] do
            test $"--halt '{text}' is refused" { Expect.isError (HaltRule.parse text) "refused" }
    ]
