module FsScheduler.Core.Tests.CodecTests

open Expecto

let tests = testList "CodecTests" []
