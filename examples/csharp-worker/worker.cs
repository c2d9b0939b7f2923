// A worker in C#, in one file. Start a scheduler that knows of its stages, then this:
//
//     src/FsScheduler.Scheduler/bin/Release/net10.0/fs-scheduler --pipeline 'lower | initials' --expect initials,longest
//     dotnet run examples/csharp-worker/worker.cs
//
// HOST:PORT as its argument is another scheduler than that of this machine. Ctrl+C ends it in order.
#:project ../../src/FsScheduler.Sdk/FsScheduler.Sdk.csproj
#:package Microsoft.Extensions.Hosting
#:property PublishAot=false

using FsScheduler.Sdk;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

var builder = Host.CreateApplicationBuilder();

builder.Services
    .AddFsSchedulerWorker(options => options.Address = args.FirstOrDefault() ?? options.Address)
    .AddStage<InitialsStage>()
    .AddStage<LongestStage>();

await builder.Build().RunAsync();

/// <summary>The first character of each word, line by line.</summary>
internal sealed class InitialsStage : PerLineStage
{
    public override string Name => "initials";

    protected override string? Transform(string line, StageContext context) =>
        string.Concat(line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(word => word.EnumerateRunes().First()));
}

/// <summary>The longest line, the first one among equals; of a large file, that of the longest lines of its pieces.</summary>
internal sealed class LongestStage : AggregateStage<string>
{
    public override string Name => "longest";

    protected override bool IsDistributed => true;

    protected override string Seed(StageContext context) => "";

    protected override string Add(string state, string line) => Merge(state, line);

    protected override string Merge(string left, string right) => right.Length > left.Length ? right : left;

    protected override string Result(string state, StageContext context) => state + "\n";
}
