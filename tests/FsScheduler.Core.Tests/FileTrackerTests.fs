module FsScheduler.Core.Tests.FileTrackerTests

open Expecto

let tests = testList "FileTrackerTests" []
