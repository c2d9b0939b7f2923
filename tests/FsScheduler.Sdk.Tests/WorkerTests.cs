using System.Net;
using System.Net.Sockets;
using Expecto;
using Expecto.CSharp;
using FsScheduler.TestKit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace FsScheduler.Sdk.Tests;

/// <summary>Stages in the generic host, for a real scheduler.</summary>
internal static class WorkerTests
{
    public static Test Tests { get; } = Runner.TestList("a worker in the generic host",
    [
        Check.Case("runs a stage in a scope of its own for each task", ScopePerTask),
        Check.Case("tells the stage what the task is", Context),
        Check.Case("tries again unless the stage says not to, also after any other exception", TriesAgain),
        Check.Case("finishes what it holds when the host stops", GracefulStop),
        Check.Case("cancels the stage of a task that nobody waits for", CancelsStage),
        Check.Case("does pieces of a large payload together with others", Pieces),
        Check.Case("shares files with its scheduler, in the folders that it was told", SharesFiles),
        Check.Case("does not start with options that are wrong, and names them all", WrongOptions),
        Check.Case("does not start with a stage that cannot be built or named", WrongStages),
        Check.Case("ends the host when no scheduler will have it", Unserved),
        Check.Case("ends the host when it is asked to go", GoesWhenAsked),
        Check.Case("connects through a stream of the caller's", OwnStream),
    ]);

    private static async Task ScopePerTask()
    {
        await using var scheduler = await TestScheduler.StartAsync("--expect", "visits");
        using var host = await TestHost.StartAsync(scheduler.Address, worker =>
        {
            worker.Services.AddScoped<Visit>().AddSingleton<VisitCount>();
            worker.AddStage<VisitStage>();
        });
        await using var client = await scheduler.ConnectAsync();
        var seen = new HashSet<string>();

        for (var index = 0; index < 3; index++)
        {
            seen.Add(await RunAsync(client, "visits", ""));
        }

        Check.Equal(3, seen.Count, "each task had a scoped service of its own");
        var count = host.Services.GetRequiredService<VisitCount>();

        // One more was made at the start, for the stage's name.
        await Check.Eventually("all scopes are disposed", () => new(count.Made == 4 && count.Disposed == 4));
        await Check.Within(host.StopAsync());
    }

    private static async Task Context()
    {
        await using var scheduler = await TestScheduler.StartAsync("--expect", "about");
        using var host = await TestHost.StartAsync(scheduler.Address, worker => worker.AddStage<AboutStage>());
        await using var client = await scheduler.ConnectAsync();
        Check.Equal("a/b.txt 1 1 x:y abc", await RunAsync(client, "lower | about:x:y", "ABC", "a/b.txt"), "what the stage saw");
        await Check.Within(host.StopAsync());
    }

    private static async Task TriesAgain()
    {
        await using var scheduler = await TestScheduler.StartAsync("--expect", "fussy");
        using var host = await TestHost.StartAsync(scheduler.Address, worker => worker.AddStage<FussyStage>());
        await using var client = await scheduler.ConnectAsync();
        var later = Check.Is<Outcome.Succeeded>(await OutcomeAsync(client, "fussy", "later"));
        Check.Equal(2, later.Attempts, "attempts");
        var broken = Check.Is<Outcome.Failed>(await OutcomeAsync(client, "fussy", "broken"));
        Check.Equal(3, broken.Attempts, "attempts");
        Check.Equal("FormatException: broken in two", broken.Error, "the reason");
        var failed = Check.Is<Outcome.Failed>(await OutcomeAsync(client, "fussy", "never"));
        Check.Equal("not this one", failed.Error, "the reason");
        Check.Equal(1, failed.Attempts, "attempts");
        await Check.Within(host.StopAsync());
    }

    /// <summary>A task that is held in its stage, with its worker, its client and the gate that holds it.</summary>
    private static async Task WithHeldTaskAsync(Func<IHost, SchedulerClient, Gate, TaskHandle, Task> body)
    {
        await using var scheduler = await TestScheduler.StartAsync("--expect", "gate");
        using var host = await TestHost.StartAsync(scheduler.Address, worker =>
        {
            worker.Services.AddSingleton<Gate>();
            worker.AddStage<GateStage>();
        });
        await using var client = await scheduler.ConnectAsync();
        var gate = host.Services.GetRequiredService<Gate>();
        var task = await Check.Within(client.SubmitAsync(new() { Name = "held", Pipeline = "gate" }));
        await Check.Within(gate.Entered.Task);
        await body(host, client, gate, task);
    }

    private static Task GracefulStop() => WithHeldTaskAsync(async (host, client, gate, task) =>
    {
        var stopping = host.StopAsync();

        await Check.Eventually("the worker takes nothing new", async () =>
        {
            var status = await client.GetStatusAsync();
            return status.Workers is [{ Slots: 0 }];
        });
        Check.True(!stopping.IsCompleted, "it waits for what it holds");
        gate.Opened.SetResult();
        var done = Check.Is<Outcome.Succeeded>(await Check.Within(task.Completion));
        Check.Equal(1, done.Attempts, "attempts");
        await Check.Within(stopping);
    });

    private static Task CancelsStage() => WithHeldTaskAsync(async (host, client, gate, task) =>
    {
        Check.True(await Check.Within(client.CancelAsync(task.Id)), "there is a task to cancel");
        Check.Is<Outcome.Cancelled>(await Check.Within(task.Completion));
        await Check.Within(gate.Cancelled.Task);
        Check.True(!await Check.Within(client.CancelAsync(task.Id)), "there is nothing more to cancel");
        await Check.Within(host.StopAsync());
    });

    /// <summary>Two workers, and a payload of five pieces or so: the numbers of the tasks that stages were run for tell them.</summary>
    private static async Task Pieces()
    {
        await using var scheduler = await TestScheduler.StartAsync("--expect", "numbered,seen-by", "--split", "128KiB");

        Task<IHost> StartAsync() => TestHost.StartAsync(
            scheduler.Address, worker => worker.AddStage<NumberedStage>().AddStage<SeenByStage>(), options => options.Slots = 1);

        using var first = await StartAsync();
        using var second = await StartAsync();
        await using var client = await scheduler.ConnectAsync();
        var lines = Enumerable.Range(0, 20_000).Select(index => $"linha {index}, até amanhã").ToArray();
        var text = string.Join("\n", lines);

        var numbered = (await RunAsync(client, "numbered:!", text)).Split('\n');
        Check.Equal(text, string.Join("\n", numbered.Select(line => line[(line.IndexOf('!') + 1)..])), "every line once, in order");
        var pieces = numbered.Select(line => line[..line.IndexOf('!')]).Distinct().ToArray();
        Check.True(pieces.Length >= 4, $"the tasks were {string.Join(' ', pieces)}");

        var seen = (await RunAsync(client, "lower | seen-by | upper", text)).Split(' ');
        Check.Equal($"20000 LINES, FIRST {lines[0]}, LAST {lines[^1]}, TASKS".ToUpperInvariant(), string.Join(' ', seen[..^1]), "all lines");
        Check.True(seen[^1].Split(',').Distinct().Count() >= 4, $"the tasks were {seen[^1]}");
        Check.Equal("1 lines, first a, last a, tasks", string.Join(' ', (await RunAsync(client, "seen-by", "a")).Split(' ')[..^1]), "what is small");
        await Check.Within(Task.WhenAll(first.StopAsync(), second.StopAsync()));
    }

    /// <summary>That the worker could not use what it was told costs an attempt, and shows that it was told.</summary>
    private static async Task SharesFiles()
    {
        await using var scheduler = await TestScheduler.StartAsync("--expect", "about", "--shared-files");
        await using var client = await scheduler.ConnectAsync();
        var payload = new string('x', 200_000);

        foreach (var (folder, attempt) in new[] { (".", 1), ("resultados", 2) })
        {
            using var host = await TestHost.StartAsync(
                scheduler.Address,
                worker => worker.AddStage<AboutStage>(),
                options => options.SharedFolders.Add(Path.Combine(scheduler.Folder, folder)));

            var result = (await RunAsync(client, "about", payload)).Split(' ');
            Check.Equal($"{attempt}", result[2], "the attempt");
            Check.Equal(payload, result[^1], "the payload");
            await Check.Within(host.StopAsync());
        }
    }

    private static async Task WrongOptions()
    {
        using var host = TestHost.Build("nowhere", worker => worker.AddStage<FussyStage>(), options =>
        {
            options.Slots = 0;
            options.Name = "";
            options.DrainTime = TimeSpan.FromSeconds(-1);
            options.GiveUpAfter = TimeSpan.FromSeconds(-1);
            options.Token = new('x', 1_001);
            options.SharedFolders.Add("/nowhere");
        });

        var error = await Check.ThrowsAsync<OptionsValidationException>(() => host.StartAsync());

        foreach (var name in new[] { "Address", "Slots", "Name", "DrainTime", "GiveUpAfter", "Token", "SharedFolders" })
        {
            Check.Contains($"{name}: ", error.Message);
        }
    }

    private static async Task WrongStages()
    {
        using var unknown = TestHost.Build("127.0.0.1:1", worker => worker.AddStage<VisitStage>());
        Check.Contains(nameof(Visit), (await Check.ThrowsAsync<InvalidOperationException>(() => unknown.StartAsync())).Message);
        using var twice = TestHost.Build("127.0.0.1:1", worker => worker.AddStage<FussyStage>().AddStage<FussyStage>());
        Check.Contains("'fussy'", (await Check.ThrowsAsync<InvalidOperationException>(() => twice.StartAsync())).Message);
        using var unnamed = TestHost.Build("127.0.0.1:1", worker => worker.AddStage<UnnamedStage>());
        Check.Contains("'no name'", (await Check.ThrowsAsync<InvalidOperationException>(() => unnamed.StartAsync())).Message);
        using var none = TestHost.Build("127.0.0.1:1", _ => { }, options => options.OfferBuiltInStages = false);
        Check.Contains("AddStage", (await Check.ThrowsAsync<InvalidOperationException>(() => none.StartAsync())).Message);
    }

    private static async Task Unserved()
    {
        var tokens = Path.GetTempFileName();
        await File.WriteAllTextAsync(tokens, "worker of-the-workers-0001\nclient of-the-clients-0001\n");

        try
        {
            await using var scheduler = await TestScheduler.StartAsync("--token-file", tokens);

            async Task<string> EndAsync(string address, Action<FsSchedulerWorkerOptions> change)
            {
                Environment.ExitCode = 0;
                using var host = await TestHost.StartAsync(address, worker => worker.AddStage<FussyStage>(), change);
                var service = host.Services.GetServices<IHostedService>().OfType<BackgroundService>().Single();
                await Check.Within(host.WaitForShutdownAsync());
                Check.Equal(3, Environment.ExitCode, "the exit code");
                return Check.Is<SchedulerRefusedException>(service.ExecuteTask?.Exception?.InnerException).Message;
            }

            Check.Contains("not authorized", await EndAsync(scheduler.Address, options => options.Token = "a-guess-of-somebody"));
            Check.Contains("no scheduler", await EndAsync("127.0.0.1:1", options => options.GiveUpAfter = TimeSpan.FromMilliseconds(50)));

            await Check.ThrowsAsync<SchedulerRefusedException>(() => scheduler.ConnectAsync());
            await Check.ThrowsAsync<SchedulerRefusedException>(
                () => SchedulerClient.ConnectAsync(scheduler.Options with { Token = "of-the-workers-0001" }));
            await using var client = await SchedulerClient.ConnectAsync(scheduler.Options with { Token = "of-the-clients-0001" });
            Check.Equal(0L, (await Check.Within(client.GetStatusAsync())).Queued, "queued");
        }
        finally
        {
            Environment.ExitCode = 0;
            File.Delete(tokens);
        }
    }

    private static async Task GoesWhenAsked()
    {
        await using var scheduler = await TestScheduler.StartAsync();
        using var host = await TestHost.StartAsync(
            scheduler.Address, worker => worker.AddStage<FussyStage>(), options => options.Name = "leaver");
        await using var client = await scheduler.ConnectAsync();
        await Check.Eventually("the worker is there", async () => (await client.GetStatusAsync()).Workers is [{ Name: "leaver", Slots: 4 }]);
        using var drain = await PeerModule.client(scheduler.Port);
        await drain.Send("""{"type":"DRAIN","worker":"leaver"}""");
        await Check.Within(host.WaitForShutdownAsync());
    }

    private static async Task OwnStream()
    {
        await using var scheduler = await TestScheduler.StartAsync();
        var opened = 0;

        async ValueTask<Stream> Open(CancellationToken ct)
        {
            Interlocked.Increment(ref opened);
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(IPEndPoint.Parse(scheduler.Address), ct);
            return new NetworkStream(socket, ownsSocket: true);
        }

        using var host = await TestHost.StartAsync("127.0.0.1:1", _ => { }, options => options.OpenStream = Open);
        await using var client = await SchedulerClient.ConnectAsync(new() { Address = "127.0.0.1:1", OpenStream = Open });
        Check.Equal("abc", await RunAsync(client, "lower", "ABC"), "the result");
        Check.Equal(2, opened, "streams");
        await Check.Within(host.StopAsync());
    }

    private static async Task<Outcome> OutcomeAsync(SchedulerClient client, string pipeline, string text, string name = "n")
    {
        var task = await Check.Within(client.SubmitAsync(
            new() { Name = name, Pipeline = pipeline, Payload = Payload.FromText(text) }));
        return await Check.Within(task.Completion);
    }

    private static async Task<string> RunAsync(SchedulerClient client, string pipeline, string text, string name = "n")
    {
        using var result = Check.Is<Outcome.Succeeded>(await OutcomeAsync(client, pipeline, text, name)).Result;
        return await result.ReadTextAsync();
    }
}
