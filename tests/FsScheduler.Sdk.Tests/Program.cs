using Expecto;
using Expecto.CSharp;
using FsScheduler.Sdk.Tests;

return Runner.RunTestsWithCLIArgs(
    [],
    args,
    Runner.TestList("sdk",
    [
        StageTests.Tests,
        ClientTests.Tests,
        WorkerTests.Tests,
        ApiTests.Tests,
    ]));
