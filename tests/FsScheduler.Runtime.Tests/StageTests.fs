module FsScheduler.Runtime.Tests.StageTests

open Expecto

let tests =
    testList "stages" [
        StageExampleTests.tests
        StagePropertyTests.tests
        StageRunnerTests.tests
        StageSpillTests.tests
        StageMergeTests.tests
        StageMarkTests.tests
        StageDecodeTests.tests
    ]
