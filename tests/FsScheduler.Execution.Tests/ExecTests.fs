/// Programs that are run once for each payload: `exec` and `exec-file`.
module FsScheduler.Execution.Tests.ExecTests

open System
open System.Diagnostics
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Execution.Exec
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.TestKit

let private megabytes = 1024 * 1024

let private many size =
    let bytes: byte[] = Array.zeroCreate size
    Random(1).NextBytes bytes
    bytes

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
                let folder = Directory.CreateTempSubdirectory("fss-exec-").FullName
                let path = Path.Combine(folder, "broken")
                File.WriteAllText(path, "#!/nowhere/to/be/found\n")
                File.SetUnixFileMode(path, UnixFileMode.UserExecute ||| UnixFileMode.UserRead)

                let bench = new Bench([ path ])
                let! struct (message, retry) = bench.Failure($"exec:{path}", Content.empty)
                Expect.stringContains message $"'{path}' cannot be started: " ""
                Expect.isTrue retry "it may be elsewhere"
                do! (bench :> IAsyncDisposable).DisposeAsync()
                Directory.Delete(folder, true)
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

/// A script that has a process in the background of one in the background, and writes their numbers.
let private family = "sh -c ''sleep 1000 & echo $!; wait'' & echo $$; echo $!; wait"

let private killing =
    testList "killing" [
        for isPortable in [ false; true ] do
            unixTest $"takes the whole tree, portable: {isPortable}"
            <| fun () ->
                task {
                    use bench = new Bench([ "sh" ], isPortable = isPortable)
                    use stop = new CancellationTokenSource()
                    let told = Path.Combine(bench.Folder, "told")
                    // Three numbers: its own, its child's, and its grandchild's.
                    let text = $"exec > {told}; {family}"

                    let running =
                        bench.RunAsync($"exec:sh -c '{text}'", Content.empty, ct = stop.Token)

                    let pids () =
                        if File.Exists told then
                            File.ReadAllLines told |> Array.map int
                        else
                            [||]

                    do! eventually "they run" (fun () -> (pids ()).Length = 3)

                    for pid in pids () do
                        Expect.isTrue (isAlive pid) $"{pid} runs"

                    stop.Cancel()
                    let! _ = Task.WhenAny(running, Task.Delay patience)
                    Expect.isTrue running.IsCanceled "it says that it was cancelled"

                    do! eventually "they are gone" (fun () -> not (Array.exists isAlive (pids ())))

                    File.Delete told
                }

        unixTest "takes what a program left behind that ended well"
        <| fun () ->
            task {
                use bench = new Bench([ "sh" ])

                if not Posix.isAvailable then
                    skiptest "there are no sessions for programs here"

                let! text = bench.Text("exec:sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'", "")
                do! eventually "it is gone" (fun () -> not (isAlive (int text)))
            }

        unixTest "happens when the worker ends"
        <| fun () ->
            task {
                let bench = new Bench([ "sh" ])
                let told = Path.Combine(bench.Folder, "told")

                let running =
                    bench.RunAsync($"exec:sh -c 'echo $$ > {told}; sleep 1000'", Content.empty)

                let isTold () =
                    File.Exists told && (File.ReadAllText told).EndsWith '\n'

                do! eventually "it runs" isTold
                let pid = int (File.ReadAllText told)
                File.Delete told
                do! (bench :> IAsyncDisposable).DisposeAsync()
                do! eventually "it is gone" (fun () -> not (isAlive pid))
                Expect.isTrue running.IsCanceled "and it was told"
            }

        unixTest
            "takes a program that the guard was not told of, and what that started without the mark"
        <| fun () ->
            task {
                if not Posix.isAvailable then
                    skiptest "there are no sessions for programs here"

                let folder = Directory.CreateTempSubdirectory("fss-guard-").FullName
                let told = Path.Combine(folder, "told")
                let mark = $"FSS_TEST_MARK={Guid.NewGuid():N}"
                let guard = new ProcessReaper(mark, NullLogger.Instance)

                let isSilent = {
                    new IProgramObserver with
                        member _.Started _ = ()
                        member _.Ended _ = ()
                }

                use program =
                    (SessionStarter isSilent :> IProgramStarter).Start {
                        path = find "sh"
                        name = "sh ) ("
                        arguments = [|
                            "-c"
                            $"echo $$ > {told}; env -i sh -c 'echo $$ >> {told}; sleep 1000 & wait' & wait"
                        |]
                        environment = [| mark; "PATH=/usr/bin:/bin" |]
                        folder = folder
                        input = InputEmpty
                        isOutputWanted = false
                    }

                let pids () =
                    if File.Exists told then
                        File.ReadAllLines told |> Array.map int
                    else
                        [||]

                do! eventually "both run" (fun () -> (pids ()).Length = 2)
                let pids = pids ()
                (guard :> IDisposable).Dispose()
                do! eventually "they are gone" (fun () -> not (Array.exists isAlive pids))
                Directory.Delete(folder, true)
            }
    ]

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

let private allowing =
    testList "allowing" [
        unixTest "finds a name in PATH, and takes a path as it is"
        <| fun () ->
            task {
                let path = find "cat"
                Expect.isTrue (Path.IsPathFullyQualified path) path
                Expect.equal (AllowedProgram.find path) (Ok path) ""
            }

        for program, part in
            [
                "no-such-program-here", "there is no program 'no-such-program-here' in PATH"
                "./cat", "'./cat' is a relative path; write an absolute one"
                "bin/cat", "is a relative path"
                "..", "there is no program '..' in PATH"
                "/no/such/file", "there is no file '/no/such/file'"
                "/etc/passwd", "'/etc/passwd' is not executable; make it so with chmod +x"
                "/etc", "there is no file '/etc'"
                "", "cannot be a program"
                "a,b", "cannot be a program"
                "a\nb", "cannot be a program"
            ] do
            test $"refuses {program}" {
                if OperatingSystem.IsWindows() then
                    skiptest "the paths are those of Unix"

                match AllowedProgram.find program with
                | Ok path -> failtest path
                | Error reason -> Expect.stringContains reason part ""
            }

        // It changes what the whole process sees.
        testSequenced (
            unixTest "ignores folders of PATH that depend on where the worker was started"
            <| fun () ->
                task {
                    let folder = Directory.CreateTempSubdirectory("fss-exec-").FullName
                    let program = "fss-only-here"
                    let path = Path.Combine(folder, program)
                    File.WriteAllText(path, "#!/bin/sh\n")
                    File.SetUnixFileMode(path, UnixFileMode.UserExecute ||| UnixFileMode.UserRead)
                    let before = Environment.GetEnvironmentVariable "PATH"
                    let relative = Path.GetRelativePath(Environment.CurrentDirectory, folder)

                    try
                        Environment.SetEnvironmentVariable("PATH", $"{before}:{relative}:.::")
                        Expect.isError (AllowedProgram.find program) "a relative folder"
                        Environment.SetEnvironmentVariable("PATH", $"{before}:{folder}")
                        Expect.equal (AllowedProgram.find program) (Ok path) "an absolute one"
                    finally
                        Environment.SetEnvironmentVariable("PATH", before)
                        Directory.Delete(folder, true)
                }
        )
    ]

[<Tests>]
let tests = testList "programs" [ streams; killing; files; allowing ]
