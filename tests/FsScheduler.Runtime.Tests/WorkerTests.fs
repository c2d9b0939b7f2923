module FsScheduler.Runtime.Tests.WorkerTests

open Expecto

let tests = testList "worker" []
