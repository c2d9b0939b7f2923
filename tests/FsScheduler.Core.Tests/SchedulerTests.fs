module FsScheduler.Core.Tests.SchedulerTests

open Expecto

let tests =
    testList "the scheduler" [
        SchedulerServingTests.tests
        SchedulerBacklogTests.tests
        SchedulerMissingTests.tests
        SchedulerClaimTests.tests
        SchedulerFailureTests.tests
        SchedulerHoldBackTests.tests
        SchedulerLossTests.tests
        SchedulerClientTests.tests
        SchedulerFileTests.tests
        SchedulerProperties.tests
        SchedulerSplitTests.tests
        SchedulerStragglerTests.tests
        SchedulerSplitRestartTests.tests
        SchedulerRetentionTests.tests
        SchedulerExpansionTests.tests
        SchedulerSplitProperties.tests
        SchedulerModelProperties.tests
    ]
