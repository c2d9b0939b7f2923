module FsScheduler.Runtime.Tests.Program

open System.Threading
open Expecto

[<EntryPoint>]
let main args =
    // Hundreds of tests at once, each with programs whose pipes keep threads waiting: those of a worker alone are seen to
    // by the worker, but a pool that grows by one thread in half a second is late for all of these.
    ThreadPool.SetMinThreads(200, 200) |> ignore

    runTestsWithCLIArgs
        []
        args
        (testList "runtime" [
            StageTests.tests
            FileTests.tests
            QuantityTests.tests
            FrameTests.tests
            AgentTests.tests
            ConnectionTests.tests
            WorkerTests.tests
            ExecTests.tests
            ExecLinesTests.tests
            ExecWorkerTests.tests
            JournalTests.tests
            JournalKeepingTests.tests
            JournalForgettingTests.tests
            JournalDamageTests.tests
            JournalDiskTests.tests
            RestartTests.tests
            PublishQueueTests.tests
            PieceTests.tests
        ])
