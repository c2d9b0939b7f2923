/// Programs that read and write files: `exec-file`.
module FsScheduler.Execution.Tests.ExecFilesTests

open System
open Expecto
open FsScheduler.Core
open FsScheduler.Execution.Exec
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.TestKit

let private files =
    testList "exec-file" [
        unixTest "puts the payload and the result into files"
        <| fun () ->
            task {
                use bench = new Bench([ "cp"; "dd" ])
                let content = many (5 * megabytes)

                for payload in [ Bytes content; bench.Spool content ] do
                    let! result = bench.Bytes("exec-file:cp {in} {out}", payload)
                    Expect.isTrue (result.AsSpan().SequenceEqual content) "cp"

                // Inside a word too.
                let! result =
                    bench.Bytes("exec-file:dd if={in} of={out} status=none", Bytes [| 1uy |])

                Expect.equal result [| 1uy |] "dd"
                Expect.equal bench.Left [ "payload" ] "nothing else is left"
            }

        unixTest "leaves to the streams what no argument names"
        <| fun () ->
            task {
                use bench = new Bench([ "cat"; "sh" ])
                let! text = bench.Text("exec-file:cat {in}", "from a file")
                Expect.equal text "from a file" "the result"

                let! text =
                    bench.Text("exec-file:sh -c 'cat > \"$1\"; echo no' sh {out}", "from stdin")

                Expect.equal text "from stdin" "the payload"
                let! text = bench.Text("exec-file:cat", "from both")
                Expect.equal text "from both" "both"
                let! text = bench.Text("exec-file:sh -c 'cat; cat \"$1\"' sh {in}", "once")
                Expect.equal text "once" "it is not on standard input as well"
            }

        unixTest "gives the payload's file the extension of the task"
        <| fun () ->
            task {
                use bench = new Bench([ "echo" ])
                let! text = bench.Text("exec-file:echo {in}", "")
                Expect.stringStarts text bench.Folder "inside"
                Expect.stringEnds text "/in.PDF\n" ""
            }

        for name, extension in
            [
                "a.b", ".b"
                "a", ""
                "a.", "."
                "a./../../etc/x", ""
                "a.é", ""
                "a.12345678901234567", ""
            ] do
            test $"takes nothing else of a name such as {name}" {
                let files = ExecFiles.place OnFiles [| "{in}" |] "/f" name
                Expect.equal files.arguments [| $"/f/in{extension}" |] ""
            }

        test "puts no path into a path" {
            let files = ExecFiles.place OnFiles [| "{in}{out}"; "{i{out}n}" |] "/{out}/f" "a"
            Expect.equal files.arguments [| "/{out}/f/in/{out}/f/out"; "{i/{out}/f/outn}" |] ""
        }

        test "is not looked for in other stages" {
            let files = ExecFiles.place OnStreams [| "{in}"; "{out}" |] "/f" "a"
            Expect.equal files { arguments = [| "{in}"; "{out}" |]; input = null; output = null } ""
        }

        unixTest "fails without a result"
        <| fun () ->
            task {
                use bench = new Bench([ "true"; "ln"; "mkdir"; "cp" ])
                let! struct (message, retry) = bench.Failure("exec-file:true {out}", Content.empty)
                Expect.equal message "true ended with exit code 0, but did not write {out}" ""
                Expect.isTrue retry "another attempt may"
                let! struct (message, _) = bench.Failure("exec-file:mkdir {out}", Content.empty)
                Expect.stringContains message "made {out} a folder" "a folder is none"

                let! struct (message, _) =
                    bench.Failure("exec-file:ln -s /etc/passwd {out}", Content.empty)

                Expect.stringContains message "{out} a link" "it would lead elsewhere"

                let! struct (message, _) =
                    bench.Failure("exec-file:cp {in} {out}", Bytes(many 1_000), bytesMax = 999L)

                Expect.stringContains message "more than the 999 bytes" "too large"
                Expect.equal bench.Left [] "nothing is left"
            }
    ]

[<Tests>]
let tests = testList "programs" [ files ]
