module FsScheduler.Core.Tests.Program

open Expecto

[<EntryPoint>]
let main args =
    runTestsWithCLIArgs
        []
        args
        (testList "core" [
            TaskNameTests.tests
            ResultNameTests.tests
            DoneBeforeTests.tests
            ExecCommandTests.tests
            PipelineTests.tests
            EncodingNameTests.tests
            NamePatternTests.tests
            RouteTests.tests
            ExplanationTests.tests
            ListingTests.tests
            FolderOverlapTests.tests
            IgnoredNamesTests.tests
            FileTrackerTests.tests
            DoubtedFilesTests.tests
            SchedulerTests.tests
        ])
