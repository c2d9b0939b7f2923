module FsScheduler.Machine.Tests.DoneBeforeTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine

let private file name before now hasResult = {
    name = name
    before = before
    now = ValueSome now
    hasResult = hasResult
}

let private of' files = DoneBefore.ofFiles files

[<Tests>]
let tests =
    testList "what was done before" [
        test "is told apart from what was done now" {
            let before =
                of' [
                    file "a" (ValueSome "lower") "lower" true
                    file "b" (ValueSome "lower") "lower" true
                ]

            Expect.equal
                (DoneBefore.summary 0L before)
                "0 done now, 2 done before with 'lower'"
                "nothing now"

            Expect.equal (DoneBefore.summary 3L (of' [])) "3 done" "nothing before"
            Expect.isEmpty (DoneBefore.warnings before) "all as expected"
        }

        test "names its pipelines, the most frequent first, unless they are many" {
            let files count =
                of' [
                    for pipeline in 1..count do
                        for copy in 0..pipeline ->
                            file $"{pipeline}.{copy}" (ValueSome $"head:{pipeline}") "lower" true
                ]

            Expect.equal
                (DoneBefore.summary 1L (files 2))
                "1 done now, 5 done before with 'head:2', 'head:1'"
                "two"

            Expect.stringEnds
                (DoneBefore.summary 1L (files 3))
                "with 'head:3', 'head:2', 'head:1'"
                "three"

            Expect.stringEnds (DoneBefore.summary 1L (files 4)) "with 4 pipelines" "four"

            Expect.equal
                (DoneBefore.summary 0L (of' [ file "a" ValueNone "lower" true ]))
                "0 done now, 1 done before"
                "one that is forgotten"
        }

        test "with another pipeline, or of which the result is gone, is warned of, with --again" {
            let warnings =
                DoneBefore.warnings (
                    of' [
                        file "a" (ValueSome "lower") "upper" true
                        file "b" (ValueSome "upper") "upper" false
                        file "c" ValueNone "upper" true
                    ]
                )

            match warnings with
            | [ changed; gone ] ->
                Expect.stringContains changed "1 file was done before" "one"
                Expect.stringContains changed "'lower'" "what it got"
                Expect.stringContains changed "'upper'" "what it would get"
                Expect.stringContains gone "the result of b" "which"

                for warning in warnings do
                    Expect.stringContains warning "--again" "what to do"
            | other -> failtest $"%A{other}"
        }
    ]
