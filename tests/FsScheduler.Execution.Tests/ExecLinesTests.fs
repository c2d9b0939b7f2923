/// Programs that give a line for each line, for many payloads: `exec-lines`.
module FsScheduler.Execution.Tests.ExecLinesTests

open System
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Execution.Exec
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.TestKit

let private loop body =
    "exec-lines:sh -c " + script ("while read -r line; do " + body + "; done")

/// Answers each line with its process.
let private whoIs = loop "echo $$"

let private lines =
    testList "exec-lines" [
        for payload in [ ""; "a"; "a\n"; "a\nb"; "a\n\n\nb\n"; "\n"; "é\r\nü" ] do
            unixTest $"gives a line for each of {Uri.EscapeDataString payload}, ended as it is"
            <| fun () ->
                task {
                    use bench = new Bench([ "cat" ])
                    let! text = bench.Text("exec-lines:cat", payload)
                    Expect.equal text payload "once"
                    let! text = bench.Text("exec-lines:cat", payload)
                    Expect.equal text payload "and again"
                }

        for isPortable in [ false; true ] do
            unixTest $"passes 64 MiB in order, portable: {isPortable}"
            <| fun () ->
                task {
                    use bench = new Bench([ "cat" ], isPortable = isPortable)
                    let text = StringBuilder()

                    while text.Length < 64 * 1024 * 1024 do
                        text.Append(text.Length).Append('\n') |> ignore

                    let content = utf8 (string text)
                    let! result = bench.Bytes("exec-lines:cat", bench.Spool content)
                    Expect.isTrue (result.AsSpan().SequenceEqual content) "the same"
                }

        unixTest "passes lines that are longer than any buffer"
        <| fun () ->
            task {
                use bench = new Bench([ "cat" ])
                let line = String('x', 3_000_000)
                let! text = bench.Text("exec-lines:cat", $"{line}\n{line}")
                Expect.equal text $"{line}\n{line}" ""
            }

        unixTest "uses one process for payload after payload"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])
                let! first = bench.Text(whoIs, "a\nb\n")
                let! second = bench.Text(whoIs, "c")
                Expect.equal first (second + "\n" + second + "\n") "the same"
                let! other = bench.Text(loop "echo  $$", "c")
                Expect.notEqual other second "but not for another stage"
            }

        unixTest "uses as many as there are payloads at once, and none for two"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])
                let! all = Task.WhenAll [ for _ in 1..4 -> bench.Text(whoIs, "a\nb\nc") ]

                for text in all do
                    Expect.equal (Array.distinct (text.Split '\n')).Length 1 "one for each payload"
            }

        unixTest "does not let a program see the task: it has many"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])
                let! text = bench.Text(loop "echo \"[$FS_TASK$FS_NAME]\"", "a")
                Expect.equal text "[]" ""
            }

        for what, body, payload, part in
            [
                // In one write: what comes a moment later is not seen any more.
                "more lines",
                "printf ''a\\nb\\nc\\n''",
                "x\ny\n",
                "sh wrote more lines than it was sent"
                "more than a line", "printf ''a\\nb''", "x", "sh wrote more lines than it was sent"
                "its end in the middle",
                "echo a; echo oops >&2; exit 4",
                "x\ny\nz\n",
                "sh ended with exit code 4 after 1 lines of 3 that it was sent: oops"
                "its end, well, in the middle",
                "echo a; exit 0",
                "x\ny\nz\n",
                "sh ended with exit code 0 after 1 lines of 3"
                "the end of its output",
                "exec >&-; sleep 1000",
                "x",
                "sh closed its standard output after 0 lines of 1"
            ] do
            unixTest $"fails for {what}, and starts another process then"
            <| fun () ->
                task {
                    use bench = new Bench([ "sh" ])
                    // It goes wrong in its folder only once: the next has the same stage.
                    let flag = Path.Combine(bench.Folder, "flag")
                    let body = body.Replace("''", "'")
                    let stage = loop $"if [ -e {flag} ]; then echo $$; else {body}; fi"
                    let! struct (message, retry) = bench.Failure(stage, Bytes(utf8 payload))
                    Expect.stringContains message part ""
                    Expect.isTrue retry "another attempt may end better"
                    File.WriteAllText(flag, "")
                    let! text = bench.Text(stage, "x")
                    Expect.isTrue (int text > 0) "the next is fine"
                    File.Delete flag
                }

        unixTest "fails for fewer lines, when the program has been silent for too long"
        <| fun () ->
            task {
                let limits = {
                    LineLimits.standard with
                        silenceMax = TimeSpan.FromMilliseconds 300.0
                }

                use bench = new Bench([ "sh"; "sort" ], limits)
                let! struct (message, _) = bench.Failure("exec-lines:sort", Bytes(utf8 "b\na\n"))
                Expect.stringContains message "sort wrote no line for 0 s, after 0 lines of 2" ""
                Expect.stringContains message "keeps its output until its input ends" "what to do"

                let! struct (message, _) =
                    bench.Failure(loop "[ $line = b ] || echo $line", Bytes(utf8 "a\nb\nc\n"))

                Expect.stringContains message "after 2 lines of 3" "one is missing"
            }

        unixTest "does not use a process again that said something unasked, or has ended"
        <| fun () ->
            task {
                let limits = { LineLimits.standard with silenceMax = TimeSpan.FromSeconds 1.0 }
                use bench = new Bench([ "sh"; "head" ], limits)
                let flag = Path.Combine(bench.Folder, "flag")
                // Only when it is told does the first say more than it was asked.
                let stage =
                    "exec-lines:sh -c "
                    + script
                        $"(while [ ! -e {flag} ]; do sleep 0.01; done; echo unasked; touch {flag}.said) & while read -r line; do echo $$; done"

                let! first = bench.Text(stage, "x")
                File.WriteAllText(flag, "")
                do! eventually "it has spoken" (fun () -> File.Exists $"{flag}.said")
                do! eventually "that was heard" (fun () -> bench.Stages.IdleCount = 0)
                File.Delete flag
                let! second = bench.Text(stage, "x")
                Expect.notEqual (int second) (int first) "another process, and its own answer"
                File.Delete $"{flag}.said"

                for _ in 1..3 do
                    let! text = bench.Text("exec-lines:head -n 1", "one line\n")
                    Expect.equal text "one line\n" "that ends after its last line owes nothing"
            }

        unixTest "is killed by a cancel, and not used again"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])
                use stop = new CancellationTokenSource()
                let told = Path.Combine(bench.Folder, "told")
                let stage = loop $"echo $$ >> {told}; [ $line = hang ] && sleep 1000; echo $$"
                let running = bench.RunAsync(stage, Bytes(utf8 "hang"), ct = stop.Token)

                let isTold () =
                    File.Exists told && (File.ReadAllText told).EndsWith '\n'

                do! eventually "it has the line" isTold
                let pid = int (File.ReadAllText told)
                stop.Cancel()
                let! _ = Task.WhenAny(running, Task.Delay patience)
                Expect.isTrue running.IsCanceled "cancelled"
                do! eventually "it is gone" (fun () -> not (isAlive pid))
                let! text = bench.Text(stage, "go on")
                Expect.notEqual (int text) pid "another"
                File.Delete told
            }

        unixTest "is ended when it was idle for long enough"
        <| fun () ->
            task {
                let limits = { LineLimits.standard with idleMax = TimeSpan.FromMilliseconds 50.0 }
                use bench = new Bench([ "sh" ], limits)
                let! text = bench.Text(whoIs, "x")
                do! eventually "it is gone" (fun () -> not (isAlive (int text)))
                do! eventually "its folder too" (fun () -> bench.Left = [])
            }

        unixTest "is killed if it goes on after the end of its input"
        <| fun () ->
            task {
                let limits = { LineLimits.standard with idleMax = TimeSpan.FromMilliseconds 50.0 }
                let bench = new Bench([ "sh" ], limits)
                let stubborn = "while read -r line; do echo $$; done; trap '' TERM; sleep 984"
                let! text = bench.Text("exec-lines:sh -c " + script stubborn, "x")
                do! eventually "when it was idle" (fun () -> not (isAlive (int text)))
                do! (bench :> IAsyncDisposable).DisposeAsync()
                let bench = new Bench([ "sh" ])
                let! text = bench.Text("exec-lines:sh -c " + script stubborn, "x")
                do! (bench :> IAsyncDisposable).DisposeAsync()
                do! eventually "when the worker ends" (fun () -> not (isAlive (int text)))
            }

        unixTest "ends with the worker"
        <| fun () ->
            task {
                let bench = new Bench([ "sh" ])
                let! text = bench.Text(whoIs, "x")
                Expect.isTrue (isAlive (int text)) "it waits for more"
                do! (bench :> IAsyncDisposable).DisposeAsync()
                do! eventually "it is gone" (fun () -> not (isAlive (int text)))
            }
    ]

[<Tests>]
let tests = testList "lines of programs" [ lines ]
