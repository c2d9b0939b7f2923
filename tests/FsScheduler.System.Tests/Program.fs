module FsScheduler.System.Tests.Program

open Expecto

let private all =
    testList "system" [
        RepositoryTests.tests
        DocumentTests.tests
        ArchitectureTests.tests
        CliDocsTests.tests
        HostileTests.tests
        ExecutableTests.tests
        FolderTests.tests
        FolderAwkwardTests.tests
        VersionTests.tests
        RouteTests.tests
        SplitTests.tests
        TextAwkwardTests.tests
        DiskTests.tests
        ResultAwkwardTests.tests
        MachineAwkwardTests.tests
        LifeTests.tests
        ClientTests.tests
        PythonTests.tests
        FirstHourTests.tests
        VerbTests.tests
        ReaderTests.tests
        FollowingTests.tests
        CrowdTests.tests
        CommandTests.tests
        ExecTests.tests
        BrokenWorkerTests.tests
        ConformTests.tests
        ScriptTests.tests
        FlowTests.tests
        CSharpTests.tests
        // These want the machine to themselves.
        testSequenced (
            testList "one by one" [
                LossTests.tests
                RestartTests.tests
                FuzzTests.tests
                HostileTests.memory
                ScriptTests.chaos
                ConformTests.timedTests
            ]
        )
    ]

[<EntryPoint>]
let main args = runTestsWithCLIArgs [] args all
