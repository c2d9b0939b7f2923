using FsScheduler.TestKit;
using Microsoft.FSharp.Collections;
using SchedulerProcess = FsScheduler.TestKit.Processes.Program;

namespace FsScheduler.Sdk.Tests;

/// <summary>A real scheduler on folders and a port of its own, which can be killed and started again.</summary>
internal sealed class TestScheduler : IAsyncDisposable
{
    private static readonly Lazy<Task<TestScheduler>> Common = new(() => StartAsync("--workers", "1", "--expect", "nobody"));

    private readonly Workplace place = new();
    private readonly List<string> arguments;
    private SchedulerProcess? process;

    private TestScheduler(IEnumerable<string> arguments) => this.arguments = [.. arguments];

    /// <summary>The same after a restart.</summary>
    public int Port { get; private set; }

    public string Address => $"127.0.0.1:{Port}";

    public string Folder => place.Path;

    public SchedulerClientOptions Options => new() { Address = Address };

    public static async Task<TestScheduler> StartAsync(params string[] arguments)
    {
        var scheduler = new TestScheduler(arguments);
        await scheduler.StartAgainAsync();
        return scheduler;
    }

    /// <summary>One for all tests that do not ask what else it does: to start one takes longer than they do. It has a worker,
    /// and knows of the stage <c>nobody</c>, which nobody offers.</summary>
    public static Task<TestScheduler> SharedAsync() => Common.Value;

    public static async ValueTask DisposeSharedAsync()
    {
        if (Common.IsValueCreated)
        {
            await (await Common.Value).DisposeAsync();
        }
    }

    public Task<SchedulerClient> ConnectAsync() => Check.Within(SchedulerClient.ConnectAsync(Options));

    public async Task StartAgainAsync() =>
        (process, Port) = await Farm.startScheduler(place, ListModule.OfSeq<string>(["--listen", Address, .. arguments]));

    /// <summary>As if the machine had lost its power.</summary>
    public void Kill()
    {
        using (process)
        {
            process = null;
        }
    }

    public ValueTask DisposeAsync()
    {
        using (place)
        {
            Kill();
        }

        return ValueTask.CompletedTask;
    }
}
