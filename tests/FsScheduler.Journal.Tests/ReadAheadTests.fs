module FsScheduler.Journal.Tests.ReadAheadTests

open System
open System.Threading
open Expecto
open FsScheduler.Journal

exception private Torn of after: int

[<Tests>]
let tests =
    testList "reading ahead" [
        for most in [ 1; 3; 100 ] do
            testCase $"gives all items in order, {most} ahead" (fun () ->
                let items = [ 1..50 ]
                Expect.equal (Seq.toList (ReadAhead.ofSeq most items)) items "all"
                Expect.isEmpty (ReadAhead.ofSeq most Seq.empty) "none")

            testCase
                $"throws what the source throws, behind what came before, {most} ahead"
                (fun () ->
                    let source =
                        seq {
                            1
                            2
                            raise (Torn 2)
                        }

                    let seen = ResizeArray<int>()

                    Expect.throwsT<Torn>
                        (fun () -> Seq.iter seen.Add (ReadAhead.ofSeq most source))
                        "torn"

                    Expect.equal (List.ofSeq seen) [ 1; 2 ] "what came before")

        testCase "reads no more than is wanted, and ends with who reads" (fun () ->
            let read = ref 0
            use isOver = new ManualResetEventSlim()

            let source =
                seq {
                    try
                        while true do
                            Interlocked.Increment &read.contents |> ignore
                            0
                    finally
                        isOver.Set()
                }

            Expect.equal (Seq.length (Seq.truncate 5 (ReadAhead.ofSeq 3 source))) 5 "some"
            Expect.isTrue (isOver.Wait(TimeSpan.FromSeconds 20.0)) "the source is let go"
            Expect.isLessThan (Volatile.Read &read.contents) 11 "a few ahead")
    ]
