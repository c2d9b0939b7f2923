module FsScheduler.Runtime.Tests.HostTests

open Expecto

let tests = testList "HostTests" []
