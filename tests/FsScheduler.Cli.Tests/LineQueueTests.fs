module FsScheduler.Cli.Tests.LineQueueTests

open System
open System.Collections.Generic
open System.Text
open System.Threading
open Expecto
open FsScheduler.Cli

/// A reader that reads when it is let, and takes nothing while it is full.
type private Reader() =
    let lines = List<string>()
    let mutable isReading = false
    let mutable takes = true
    let mutable stopsAt = Int32.MaxValue
    let mutable offered = 0

    member _.Read(reads: bool) =
        lock lines (fun () ->
            isReading <- reads
            stopsAt <- Int32.MaxValue
            Monitor.PulseAll lines)

    /// Returns when one more is read, and the next one is there to be read.
    member _.ReadOne() =
        lock lines (fun () ->
            stopsAt <- lines.Count + 1
            isReading <- true
            Monitor.PulseAll lines

            while offered <= stopsAt do
                Monitor.Wait lines |> ignore)

    member _.Takes
        with set value = lock lines (fun () -> takes <- value)

    member _.Lines = lock lines (fun () -> List.ofSeq lines)

    member _.Write(line: byte[]) : bool =
        lock lines (fun () ->
            offered <- offered + 1
            Monitor.PulseAll lines

            while not isReading do
                Monitor.Wait lines |> ignore

            if takes then
                lines.Add(Encoding.UTF8.GetString line)

                if lines.Count = stopsAt then
                    isReading <- false

            takes)

let private queueOf (reader: Reader) linesMax bytesMax =
    LineQueue(
        reader.Write,
        linesMax,
        bytesMax,
        fun count -> Encoding.UTF8.GetBytes $"{count} dropped"
    )

let private add (queue: LineQueue) (line: string) = queue.Add(Encoding.UTF8.GetBytes line)
let private all = TimeSpan.FromSeconds 60.0
let private numbered = List.map string

/// How many lines they stand for, those that were dropped among them.
let private standsFor (lines: string list) =
    lines
    |> List.sumBy (fun line ->
        if line.EndsWith " dropped" then
            int (line.Split(' ')[0])
        else
            1)

[<Tests>]
let tests =
    testList "lines that wait for a reader" [
        test "come in order, and all" {
            let reader = Reader()
            reader.Read true
            let queue = queueOf reader 1_000 100_000L
            let lines = numbered [ 1..500 ]
            List.iter (add queue) lines
            Expect.isTrue (queue.Drain all) "written"
            Expect.equal reader.Lines lines "as they were added"
        }

        test "hold up nobody, are bounded, and are counted where they are dropped" {
            let reader = Reader()
            let queue = queueOf reader 10 100_000L
            List.iter (add queue) (numbered [ 1..1_000 ]) // returns: nobody reads
            reader.Read true
            Expect.isTrue (queue.Drain all) "written, now that somebody does"
            add queue "later"
            Expect.isTrue (queue.Drain all) "written too"
            let lines = reader.Lines
            Expect.isLessThan lines.Length 20 "few were kept"
            Expect.equal (List.head lines) "1" "the first ones"
            Expect.equal (standsFor lines) 1_001 "and the others are counted"
            Expect.equal (List.last lines) "later" "what comes then is written"
            Expect.hasLength (lines |> List.filter _.EndsWith(" dropped")) 1 "said once"
        }

        test "are bounded in bytes too" {
            let reader = Reader()
            let queue = queueOf reader 1_000 1_000L
            let line = String('x', 100)

            for _ in 1..100 do
                add queue line

            reader.Read true
            Expect.isTrue (queue.Drain all) "written"
            Expect.isLessThan reader.Lines.Length 15 "a thousand bytes of them"
            Expect.equal (standsFor reader.Lines) 100 "all are accounted for"
        }

        test "say how many were dropped though nothing more is added" {
            let reader = Reader()
            let queue = queueOf reader 10 100_000L
            List.iter (add queue) (numbered [ 1..100 ])
            reader.Read true
            Expect.isTrue (queue.Drain all) "written"
            Expect.stringEnds (List.last reader.Lines) " dropped" "at last"
        }

        test "are dropped until half of them are read, so that a slow reader is told once" {
            let reader = Reader()
            let queue = queueOf reader 10 100_000L
            List.iter (add queue) (numbered [ 1..20 ])
            // One is in the hands of the writer, and one place is free.
            reader.ReadOne()
            add queue "between"
            reader.Read true
            Expect.isTrue (queue.Drain all) "written"
            Expect.hasLength (reader.Lines |> List.filter _.EndsWith(" dropped")) 1 "said once"
            Expect.isFalse (List.contains "between" reader.Lines) "dropped like those before"
            Expect.equal (standsFor reader.Lines) 21 "all are accounted for"
        }

        test "of a disk that takes nothing are counted, and tried again with the next one" {
            let reader = Reader()
            reader.Read true
            reader.Takes <- false
            let queue = queueOf reader 10 100_000L
            add queue "1"
            Expect.isTrue (queue.Drain all) "tried"
            add queue "2"
            Expect.isTrue (queue.Drain all) "tried"
            // What says how many were dropped is lost itself, and they with it.
            add queue "3"
            Expect.isTrue (queue.Drain all) "tried"
            reader.Takes <- true
            add queue "4"
            Expect.isTrue (queue.Drain all) "written"
            Expect.equal reader.Lines [ "3 dropped"; "4" ] "said, and gone on with"
        }

        test "are not waited for for ever" {
            let reader = Reader()
            let queue = queueOf reader 10 100_000L
            add queue "1"
            Expect.isFalse (queue.Drain(TimeSpan.FromMilliseconds 10.0)) "nobody reads"
            reader.Read true
        }
    ]
