/// Workers that may run programs, as their scheduler sees them; and what they leave.
module FsScheduler.Execution.Tests.ExecWorkerTests

open System
open System.IO
open System.Text.Json
open System.Threading
open Expecto
open FsScheduler.TestKit
open FsScheduler.Execution.Tests.RunningWorker
open FsScheduler.Execution.Tests.WorkerExchange
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.Execution

let private failureOf (result: JsonElement) =
    text result "error", text result "retry"

/// The options are refused with this text, before anything is done.
let private refused (options: WorkerOptions) (part: string) =
    Expect.throwsC
        (fun () ->
            (Worker.runAsync options CancellationToken.None).GetAwaiter().GetResult()
            |> ignore)
        (fun error -> Expect.stringContains error.Message part "")

let private atWork =
    testList "at work" [
        testTask "nothing is offered without --allow-exec, and what is sent all the same is refused" {
            use fake = new FakeScheduler()
            use _ = new Running({ options fake.Address with builtIn = [ "lower" ] })
            let! (peer: Peer) = fake.AcceptAsync()
            let! (hello: JsonElement) = peer.ReadJson()
            Expect.equal (text hello "stages") "[\"lower\"]" "no exec"
            do! peer.Send welcome

            for number, stage in
                [ 1, "exec:cat"; 2, "exec-file:cat"; 3, "exec-lines:cat"; 4, "exec" ] do
                do! give peer number $"\"lower\",\"{stage}\"" "A"B
                let! struct (refusal: JsonElement, _) = result peer

                Expect.equal (failureOf refusal) ("this worker may not run any program", "") stage
        }

        testTask "programs are offered in each way that they can be run, among other stages" {
            if OperatingSystem.IsWindows() then
                skiptest "the programs that it runs are those of Unix"

            use fake = new FakeScheduler()
            let cat = find "cat"

            use _ =
                new Running(
                    {
                        options fake.Address with
                            builtIn = [ "lower"; "trim" ]
                            functions = [ "own", StageFunction.ofText (fun text -> $"<{text}>") ]
                            allowExec = [ "tr"; cat ]
                    }
                )

            let! (peer: Peer) = fake.AcceptAsync()
            let! (hello: JsonElement) = peer.ReadJson()

            Expect.equal
                (text hello "stages")
                ("[\"lower\",\"trim\",\"own\",\"exec:tr\",\"exec-file:tr\",\"exec-lines:tr\""
                 + $",\"exec:{cat}\",\"exec-file:{cat}\",\"exec-lines:{cat}\"]")
                "all that it can run"

            do! peer.Send welcome

            do!
                give
                    peer
                    1
                    ($"\"lower\",\"exec:tr a-c A-C\",\"own\",\"exec-file:{cat} "
                     + $"{{in}}\",\"exec-lines:{cat}\"")
                    "ABCD"B

            let! struct (done': JsonElement, bytes: byte[]) = result peer
            Expect.equal (text done' "ok") "True" $"{done'}"
            Expect.equal bytes "<ABCd>"B "one after the other"

            do! give peer 2 "\"exec:sh -c x\"" "A"B
            let! struct (refusal: JsonElement, _) = result peer
            Expect.equal (fst (failureOf refusal)) "this worker may not run the program 'sh'" ""
        }

        testTask "a program that outlasts the task is killed, though nobody says CANCEL" {
            if OperatingSystem.IsWindows() then
                skiptest "the programs that it runs are those of Unix"

            use fake = new FakeScheduler()
            use _ = new Running({ options fake.Address with allowExec = [ "sleep" ] })
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            do! give peer 1 "\"exec:sleep 1000\"" "A"B // its time limit is a second
            let! struct (late: JsonElement, _) = result peer

            Expect.equal
                (failureOf late)
                ("'exec:sleep 1000' was still running after 1000 ms, the time limit of the task", "")
                ""
        }

        testTask "CANCEL kills a program" {
            if OperatingSystem.IsWindows() then
                skiptest "the programs that it runs are those of Unix"

            use fake = new FakeScheduler()
            use _ = new Running({ options fake.Address with allowExec = [ "sh" ] })
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            let told = Path.GetTempFileName()

            do!
                peer.Send(
                    $"""{{"type":"PROCESS","task":1,"attempt":1,"name":"a","stages":["exec:sh -c 'echo $$ > {told}; sleep 1000'"],"timeoutMs":100000}}"""
                )

            let isTold () = (File.ReadAllText told).EndsWith '\n'

            do! eventually "it runs" isTold
            let pid = int (File.ReadAllText told)
            do! peer.Send """{"type":"CANCEL","task":1,"attempt":1}"""
            do! eventually "it is gone" (fun () -> not (isAlive pid))
            File.Delete told
        }

        for allowed, part in
            [
                [ "no-such-program-here" ], "there is no program 'no-such-program-here' in PATH"
                [ "bin/cat" ], "is a relative path"
            ] do
            test $"it does not begin with {allowed}" {
                refused { options "127.0.0.1:1" with allowExec = allowed } part
            }

        test "no function is called like what runs programs" {
            let functions = [ "exec-lines", StageFunction.ofText id ]
            refused { options "127.0.0.1:1" with functions = functions } "exec-lines"
        }
    ]

let private leftovers =
    testList "leftovers" [
        test "of workers that are gone are removed, and nothing else is" {
            let temporary = Path.GetTempPath()
            let killed = Directory.CreateTempSubdirectory("fs-worker-").FullName
            File.WriteAllText(Path.Combine(killed, "lock"), "")
            Directory.CreateDirectory(Path.Combine(killed, "run1", "deep")) |> ignore
            File.WriteAllText(Path.Combine(killed, "run1", "deep", "file"), "x")

            let unknown = Directory.CreateTempSubdirectory("fs-worker-").FullName
            File.WriteAllText(Path.Combine(unknown, "precious"), "x")

            let elsewhere = Directory.CreateTempSubdirectory("fss-exec-").FullName
            File.WriteAllText(Path.Combine(elsewhere, "lock"), "")
            let link = Path.Combine(temporary, $"fs-worker-{Guid.NewGuid():N}")
            Directory.CreateSymbolicLink(link, elsewhere) |> ignore

            let alive = WorkerFolder()
            let another = WorkerFolder()
            alive.Cleaning.Wait()

            try
                Expect.isFalse (Directory.Exists killed) "nobody holds its lock"
                Expect.isTrue (Directory.Exists alive.Path) "somebody does"
                Expect.isTrue (File.Exists(Path.Combine(unknown, "precious"))) "it has no lock"

                Expect.isTrue
                    (File.Exists(Path.Combine(elsewhere, "lock")))
                    "links are not followed"

                Expect.equal (another.Remove()) null "removed"
                Expect.isFalse (Directory.Exists another.Path) "indeed"
                Expect.equal (alive.Remove()) null "and the other"
            finally
                Directory.Delete link
                Directory.Delete(elsewhere, true)
                Directory.Delete(unknown, true)
        }
    ]

// Beside tests that look for the folders of their own workers.
[<Tests>]
let tests =
    testSequencedGroup "workers" (testList "workers that run programs" [ atWork; leftovers ])
