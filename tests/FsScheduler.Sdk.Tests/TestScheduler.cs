using System.Diagnostics;

namespace FsScheduler.Sdk.Tests;

/// <summary>A real scheduler on folders and a port of its own, which can be killed and started again.</summary>
internal sealed class TestScheduler : IAsyncDisposable
{
    private static readonly Lazy<Task<TestScheduler>> Common = new(() => StartAsync("--workers", "1", "--expect", "nobody"));

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("fss-sdk-");
    private readonly List<string> arguments;
    private Process? process;
    private string listen = "127.0.0.1:0";

    private TestScheduler(IEnumerable<string> arguments)
    {
        this.arguments = [.. arguments];
        folder.CreateSubdirectory("entrada");
    }

    /// <summary>The folder with the solution, above wherever this program was built.</summary>
    public static string Root { get; } = FindRoot(AppContext.BaseDirectory);

    /// <summary><c>HOST:PORT</c>, the same after a restart.</summary>
    public string Address => listen;

    public string Folder => folder.FullName;

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

    public async Task StartAgainAsync()
    {
        var suffix = OperatingSystem.IsWindows() ? ".exe" : "";
        var path = Path.Combine(Root, "src", "FsScheduler.Scheduler", "bin", "Release", "net10.0", $"fs-scheduler{suffix}");

        process = Process.Start(new ProcessStartInfo(path, ["--listen", listen, .. arguments])
        {
            WorkingDirectory = folder.FullName,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;

        var errors = process.StandardError.ReadToEndAsync();
        var first = await Check.Within(process.StandardOutput.ReadLineAsync());
        const string Listening = "listening on ";
        Check.True(first?.StartsWith(Listening, StringComparison.Ordinal) ?? false, first is null ? await errors : first);
        listen = first![Listening.Length..];
    }

    /// <summary>As if the machine had lost its power.</summary>
    public void Kill()
    {
        process!.Kill(entireProcessTree: true);
        process.WaitForExit();
        process.Dispose();
        process = null;
    }

    public ValueTask DisposeAsync()
    {
        if (process is not null)
        {
            Kill();
        }

        folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    private static string FindRoot(string folder) =>
        File.Exists(Path.Combine(folder, "FsScheduler.sln"))
            ? folder
            : FindRoot(Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("no FsScheduler.sln above"));
}
