module FsScheduler.Core.Tests.SchedulerTests

open Expecto

let tests = testList "the scheduler" [ SchedulerProperties.tests ]
