module FsScheduler.Runtime.Tests.ConnectionTests

open Expecto

let tests = testList "ConnectionTests" []
