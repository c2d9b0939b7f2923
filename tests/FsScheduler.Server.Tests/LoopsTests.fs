/// Loops that do the same work side by side.
module FsScheduler.Server.Tests.LoopsTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.ServerSupport
open FsScheduler.Server.Tests.Cluster

let private patience = TimeSpan.FromSeconds 30.0

/// What it ends with is what nobody expected.
let private fails (running: Task) : Task =
    task {
        try
            do! running.WaitAsync patience
            failtest "it ended in good order"
        with :? NotSupportedException as error ->
            Expect.equal error.Message "nobody expected that" "why"
    }

let private unexpected () =
    raise (NotSupportedException "nobody expected that")

let private waiting (ct: CancellationToken) : Task = Task.Delay(-1, ct)

let private forFile = { task = 1L<taskId>; number = 1 }

[<Tests>]
let tests =
    testList "loops" [
        testTask "end when they are told to" {
            let stop = new CancellationTokenSource()
            let mutable ended = 0

            let loop (ct: CancellationToken) : Task =
                task {
                    try
                        do! waiting ct
                    with :? OperationCanceledException ->
                        Interlocked.Increment &ended |> ignore
                }

            let running = Loops.runAsync [ loop; loop ] stop.Token
            stop.Cancel()
            do! running.WaitAsync patience
            Expect.equal ended 2 "both"
        }

        testTask "fail as soon as one does, whatever the others wait for" {
            do! fails (Loops.runAsync [ waiting; (fun _ -> unexpected ()) ] CancellationToken.None)
        }

        testTask "that work on pieces do" {
            use folder = new TempFolder()

            let work =
                PieceMerger(
                    MemoryJournal 10,
                    Spool(),
                    Merge.ofStages,
                    Connection.MemoryMax,
                    (fun _ -> true),
                    (fun _ _ -> ()),
                    folder.Path,
                    StorageOutage NullLogger.Instance,
                    Clock TimeProvider.System
                )

            work.Post(PieceEffect.MergeParts(forFile, ValueNone, [||]))

            do!
                fails (
                    work.RunAsync(
                        Cut(fun _ _ _ _ -> ValueNone),
                        (fun _ -> unexpected ()),
                        (fun _ -> Task.CompletedTask),
                        CancellationToken.None
                    )
                )
        }

        testTask "that publish do" {
            use folder = new TempFolder()
            let publisher = ResultStore(folder.At "resultados")

            let queue = publishQueue folder.Path publisher OnDone.Keep Sync.Off ignore

            let origin = Origin.Client(1L<sessionId>, File, None)
            let submission = Submission.Create(name "a", "", 0, origin, Bytes [||])
            queue.Post(DiskEffect.Publish(forFile, submission, Bytes [| 1uy |]))

            do!
                fails (
                    queue.RunAsync(
                        (fun _ -> unexpected ()),
                        rememberNothing,
                        CancellationToken.None
                    )
                )
        }
    ]
