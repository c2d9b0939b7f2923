module FsScheduler.Protocol.Tests.Program

open Expecto

[<EntryPoint>]
let main args =
    runTestsWithCLIArgs
        []
        args
        (testList "protocol" [
            CodecTests.tests
            CodecRefusalTests.tests
            CodecLimitTests.tests
            CodecProperties.tests
            CodecOracle.tests
            TokensTests.tests
            GateTests.tests
            ConnectionLimitsTests.tests
        ])
