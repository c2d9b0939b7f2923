/// Programs are killed with all that they have started: when the task is cancelled, ends, or loses its worker.
module FsScheduler.Execution.Tests.ProgramEndTests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Execution.Exec
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.TestKit

/// A script that has a process in the background of one in the background, and writes their numbers.
let private family = "sh -c ''sleep 1000 & echo $!; wait'' & echo $$; echo $!; wait"

/// What a script has written so far, a number a line.
let private numbersIn (path: string) =
    if File.Exists path then
        File.ReadAllLines path |> Array.map int
    else
        [||]

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

                    let pids () = numbersIn told

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

                use folder = new TempFolder()
                let told = folder.At "told"
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
                        folder = folder.Path
                        input = InputEmpty
                        isOutputWanted = false
                    }

                let pids () = numbersIn told

                do! eventually "both run" (fun () -> (pids ()).Length = 2)
                let pids = pids ()
                (guard :> IDisposable).Dispose()
                do! eventually "they are gone" (fun () -> not (Array.exists isAlive pids))
            }
    ]

[<Tests>]
let tests = testList "programs" [ killing ]
