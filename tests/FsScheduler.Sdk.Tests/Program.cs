using Expecto;
using Expecto.CSharp;
using FsScheduler.Sdk.Tests;

var exitCode = Runner.RunTestsWithCLIArgs(
    [],
    args,
    Runner.TestList("sdk",
    [
        StageTests.Tests,
        ClientTests.Tests,
        SubmitManyTests.Tests,
        RequestTests.Tests,
        WorkerTests.Tests,
        ApiTests.Tests,
    ]));

await TestScheduler.DisposeSharedAsync();
return exitCode;
