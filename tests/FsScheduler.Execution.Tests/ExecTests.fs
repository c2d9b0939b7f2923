/// Programs that are run once for each payload: `exec`.
module FsScheduler.Execution.Tests.ExecTests

open System
open System.IO
open System.Text
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Execution.Exec
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.TestKit

let private streams =
    testList "exec" [
        unixTest "gives what the program gives for its input"
        <| fun () ->
            task {
                use bench = new Bench([ "tr" ])
                let! text = bench.Text("exec:tr a-z A-Z", "olá\n")
                Expect.equal text "OLá\n" ""
                let! text = bench.Text("exec:tr a-z A-Z", "")
                Expect.equal text "" "nothing"
            }

        for isPortable in [ false; true ] do
            for isSpooled in [ false; true ] do
                unixTest $"passes 64 MiB both ways, spooled: {isSpooled}, portable: {isPortable}"
                <| fun () ->
                    task {
                        use bench = new Bench([ "cat" ], isPortable = isPortable)
                        let content = many (64 * megabytes)

                        let payload = if isSpooled then bench.Spool content else Bytes content

                        let! result = bench.Bytes("exec:cat", payload)
                        Expect.isTrue (result.AsSpan().SequenceEqual content) "the same"
                    }

        unixTest "keeps results of up to 4 MiB in memory, and larger ones in a file"
        <| fun () ->
            task {
                use bench = new Bench([ "cat" ])
                let! small = bench.RunAsync("exec:cat", Bytes(many (4 * megabytes)))
                Expect.isTrue small.IsBytes "4 MiB"
                let! large = bench.RunAsync("exec:cat", Bytes(many (4 * megabytes + 1)))
                Expect.isTrue large.IsSpooled "more"
                SpoolFile.discard large
            }

        unixTest "drains standard error at any size"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])

                let! text =
                    bench.Text(
                        "exec:sh -c " + script "head -c 20000000 /dev/zero >&2; cat",
                        "still here"
                    )

                Expect.equal text "still here" ""
            }

        unixTest "minds neither a program that reads nothing, nor one that reads a part"
        <| fun () ->
            task {
                use bench = new Bench([ "echo"; "head" ])
                let content = Bytes(utf8 (String.replicate 500_000 "a line\n"))
                let! bytes = bench.Bytes("exec:echo done", content)
                Expect.equal bytes (utf8 "done\n") "nothing"
                let! bytes = bench.Bytes("exec:head -n 1", content)
                Expect.equal bytes (utf8 "a line\n") "a part"
            }

        unixTest "fails with the exit code and the end of standard error"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])
                let text = "echo some output; echo it is bad >&2; exit 3"

                let! struct (message, retry) =
                    bench.Failure("exec:sh -c " + script text, Content.empty)

                Expect.equal message "sh ended with exit code 3: it is bad" ""
                Expect.isTrue retry "another attempt may end better"
                let! struct (message, _) = bench.Failure("exec:sh -c 'exit 1'", Content.empty)
                Expect.equal message "sh ended with exit code 1" "that has said nothing"
            }

        unixTest "says which signal ended it"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])

                if not Posix.isAvailable then
                    skiptest "only Linux tells"

                let! struct (message, _) = bench.Failure("exec:sh -c 'kill -9 $$'", Content.empty)
                Expect.equal message "sh was killed (signal 9)" "9"
                let! struct (message, _) = bench.Failure("exec:sh -c 'kill -15 $$'", Content.empty)
                Expect.equal message "sh was ended by signal 15" "15"
            }

        unixTest "keeps the last 4 KiB of standard error, cut at a character"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])

                let text =
                    "i=0; while [ $i -lt 5000 ]; do echo ééé; i=$((i+1)); done >&2; echo end >&2; exit 1"

                let! struct (message, _) = bench.Failure("exec:sh -c " + script text, Content.empty)
                Expect.stringEnds message "ééé\nend" "its end"
                Expect.isFalse (message.Contains '\uFFFD') "no half character"
                let bytes = Encoding.UTF8.GetByteCount message
                Expect.isTrue (bytes > 4_090 && bytes < 4_096 + 40) $"{bytes} bytes"
            }

        unixTest "says so when the program cannot be started"
        <| fun () ->
            task {
                use folder = new TempFolder()
                let path = folder.At "broken"
                File.WriteAllText(path, "#!/nowhere/to/be/found\n")
                File.SetUnixFileMode(path, UnixFileMode.UserExecute ||| UnixFileMode.UserRead)

                use bench = new Bench([ path ])
                let! struct (message, retry) = bench.Failure($"exec:{path}", Content.empty)
                Expect.stringContains message $"'{path}' cannot be started: " ""
                Expect.isTrue retry "it may be elsewhere"
            }

        unixTest "passes arguments as they are: there is no shell"
        <| fun () ->
            task {
                use bench = new Bench([ "printf"; "sh" ])
                let nasty = "$(touch x) `touch y` $HOME * ; > z"
                let! text = bench.Text("exec:printf %s| " + script nasty + " '' 'a  b'", "")
                Expect.equal text (nasty + "||a  b|") ""
                let! text = bench.Text("exec:sh -c 'ls -A' x", "")
                Expect.equal text "" "and nothing was made"
            }

        unixTest "runs only what is allowed, by exactly that text"
        <| fun () ->
            task {
                use bench = new Bench([ "cat"; find "echo" ])

                for wire in
                    [
                        "exec:sh"
                        "exec:ca"
                        "exec:./cat"
                        "exec:/bin/../bin/cat"
                        "exec:echo"
                        "exec-lines:tr"
                        "exec-file:'cat '"
                    ] do
                    let! struct (message, retry) = bench.Failure(wire, Content.empty)
                    Expect.stringContains message "this worker may not run the program" wire
                    Expect.isTrue retry "another worker may"

                let! struct (message, retry) = bench.Failure("exec:cat 'a", Content.empty)
                Expect.stringContains message "at character 5: the quote" "not even read"
                Expect.isFalse retry "nobody can"
            }

        unixTest "tells the program its task, and not the token, in a folder of its own"
        <| fun () ->
            task {
                Environment.SetEnvironmentVariable("FSS_TEST_SECRET", "x-a-secret-token-x")
                Environment.SetEnvironmentVariable("FSS_TEST_OPEN", "passed on")

                try
                    use bench = new Bench([ "sh"; "env" ])
                    let! text = bench.Text("exec:env", "")
                    let lines = text.Split '\n'
                    Expect.contains lines "FS_TASK=7" ""
                    Expect.contains lines "FS_ATTEMPT=2" ""
                    Expect.contains lines "FS_NAME=cartas/avó.PDF" ""
                    Expect.contains lines "FS_PIECE=" "of a whole file"
                    Expect.contains lines "FSS_TEST_OPEN=passed on" ""
                    Expect.isFalse (text.Contains "a-secret-token") "the token"

                    let! first = bench.Text("exec:sh -c 'pwd; touch here; ls'", "")
                    let! second = bench.Text("exec:sh -c 'pwd; ls'", "")
                    Expect.stringStarts first bench.Folder "inside"
                    Expect.stringEnds first "\nhere\n" "it can write there"
                    Expect.notEqual (first.Split('\n')[0]) (second.Split('\n')[0]) "each its own"
                    Expect.isFalse (second.Contains "here") "fresh"
                    Expect.equal bench.Left [] "and removed"
                finally
                    Environment.SetEnvironmentVariable("FSS_TEST_SECRET", null)
                    Environment.SetEnvironmentVariable("FSS_TEST_OPEN", null)
            }

        unixTest "removes the folder of a program that failed too"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])

                let! _ =
                    bench.Failure("exec:sh -c 'mkdir -p a/b; touch a/b/c; exit 1'", Content.empty)

                Expect.equal bench.Left [] ""
            }

        unixTest "stops a result that is larger than the scheduler takes"
        <| fun () ->
            task {
                use bench = new Bench([ "yes" ])

                let! struct (message, retry) =
                    bench.Failure("exec:yes", Content.empty, bytesMax = 10_000_000L)

                Expect.equal
                    message
                    "the result has more than the 10000000 bytes that the scheduler takes"
                    ""

                Expect.isFalse retry "it will be as large again"
                Expect.equal bench.Left [] "nothing of it is left"
            }

        unixTest "ends pipes inside a program as they end elsewhere"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])
                // .NET ignores SIGPIPE; a program that inherits that would complain.
                let! text = bench.Text("exec:sh -c 'yes 2>said | head -n 1; cat said'", "")
                Expect.equal text "y\n" ""
            }
    ]

[<Tests>]
let tests = testList "programs" [ streams ]
