/// The worker in another language, and the document that shows it.
module FsScheduler.System.Tests.PythonTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Requirements

let private script =
    Path.Combine(Repository.root, "examples", "python-worker", "worker.py")

let private startPython (place: Workplace) (port: int) (args: string list) =
    new Program("python3", [ script; $"127.0.0.1:{port}" ] @ args, place.Path)

/// A scheduler that has ended may come back: until then it says that there is none, and nothing else.
let private expectWaiting (python: Program) =
    Expect.isFalse python.HasExited python.Said

    Expect.all
        python.Errors.All
        (fun line -> line.StartsWith "no scheduler at 127.0.0.1:")
        python.Said

let private large =
    String.init 100_000 (fun line -> $"Linha {line}: AÇÃO, CORAÇÃO, ÁGUA\n")

let private number (text: string) =
    text.Split '\n'
    |> Array.filter ((<>) "")
    |> Array.mapi (fun index line -> $"{index + 1}: {line}\n")
    |> String.concat ""

[<Tests>]
let tests =
    testList "the Python worker" [
        scenario "and one in F# hand the same files over to each other"
        <| fun () ->
            task {
                need "python3"
                use place = new Workplace()
                let names = [ for each in 1..50 -> $"f{each}.txt" ]

                for name in names do
                    place.Put(name, $"{name}\nÉ SÓ\n")

                place.Put("large.txt", large)

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--once"
                        "--pipeline"
                        "strip-accents | number-lines | upper"
                        "--expect"
                        "number-lines"
                    ]

                use scheduler = scheduler
                use _ = startWorker place port [ "--name"; "sharp" ]
                use python = startPython place port []
                let! code = scheduler.Exit
                Expect.equal code 0 scheduler.Said

                for name in names do
                    Expect.equal
                        (place.Result $"{name}.out")
                        $"1: {name.ToUpperInvariant()}\n2: E SO\n"
                        name

                let plain =
                    large.Replace("Ç", "C").Replace("Ã", "A").Replace("Á", "A").ToUpperInvariant()

                Expect.equal (place.Result "large.txt.out") (number plain) "a large one"
                expectWaiting python
            }

        scenario "brings its token, keeps its beat, and says what is wrong with a file"
        <| fun () ->
            task {
                need "python3"
                use place = new Workplace()

                File.WriteAllText(
                    place.At "tokens",
                    "client fedcba9876543210\nworker 0123456789abcdef\n"
                )

                place.Put("good.txt", "NÓS")
                place.Put("bad.txt", [| 'A'B; 0xFFuy |])

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--lost-after"
                        "500ms"
                        "--token-file"
                        "tokens"
                        "--settle"
                        "50ms"
                    ]

                use scheduler = scheduler
                use python = startPython place port [ "tokens" ]

                do!
                    eventually "they are done" (fun () ->
                        place.Results = [ "bad.txt.err"; "good.txt.out" ])

                Expect.equal (place.Result "good.txt.out") "nós" "the result"

                Expect.stringContains
                    (place.Result "bad.txt.err")
                    "after attempt 1"
                    "not tried again"
                // Longer than lost-after, which is known from the clock of the scheduler, and it is still there.
                use! client = new Peer(port) |> System.Threading.Tasks.Task.FromResult

                do!
                    client.Write
                        "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"client\",\"name\":\"n\",\"token\":\"fedcba9876543210\"}\n"

                let! _ = client.Expect "WELCOME"

                let uptime () =
                    task {
                        do! client.Write "{\"type\":\"STATUS\"}\n"
                        let! status = client.Expect "STATUS"
                        return struct (status.Number "uptimeMs", status.Number "idle")
                    }

                let! struct (began, _) = uptime ()
                let mutable now = struct (began, 1L)

                while (let struct (at, _) = now in at < began + 1_500L) do
                    let! next = uptime ()
                    now <- next
                    do! System.Threading.Tasks.Task.Delay 20

                let struct (_, idle) = now
                Expect.equal idle 1L "the worker is there"

                Expect.equal
                    (scheduler.Errors.Count(fun line -> line.Contains " joined "))
                    1
                    "and never left"

                scheduler.Signal Signal.Term
                let! code = scheduler.Exit
                Expect.equal code 130 scheduler.Said
                expectWaiting python
            }

        test "is short, and stands in docs/protocol.md as it is" {
            let text = File.ReadAllText script

            let document =
                File.ReadAllText(Path.Combine(Repository.root, "docs", "protocol.md"))

            Expect.isLessThanOrEqual (text.TrimEnd().Split('\n').Length) 50 "lines"
            Expect.stringContains document $"```python\n{text}```\n" "shown"
        }
    ]
