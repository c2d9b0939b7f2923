module FsScheduler.Runtime.Tests.Program

open Expecto

[<EntryPoint>]
let main args =
    runTestsWithCLIArgs
        []
        args
        (testList "runtime" [
            StageTests.tests
            FileTests.tests
            FileLockTests.tests
            FileVersionTests.tests
            QuantityTests.tests
            TerminalTests.tests
            FrameTests.tests
            AgentTests.tests
            ConnectionTests.tests
            WorkerTests.tests
            OwnStagesTests.tests
            AssignmentTests.tests
            ExecTests.tests
            StartFailureTests.tests
            ExecLinesTests.tests
            ExecWorkerTests.tests
            WorkerFolderTests.tests
            EventTests.tests
            TaskIndexTests.tests
            RetentionPolicyTests.tests
            JournalTests.tests
            HistoryTests.tests
            JournalPropertyTests.tests
            RestartTests.tests
            PendingReadsTests.tests
            StartTests.tests
            PublishQueueTests.tests
            ResultOwnersTests.tests
            ListingsTests.tests
            ActivityLogTests.tests
            LineQueueTests.tests
            SilenceTests.tests
            LoopsTests.tests
            PieceTests.tests
            SharedFoldersTests.tests
            SharingWorkerTests.tests
            SharingServerTests.tests
            SharingTests.tests
        ])
