using System.Security.Cryptography;
using System.Text;
using Expecto;
using Expecto.CSharp;
using static FsScheduler.Sdk.Tests.Submissions;

namespace FsScheduler.Sdk.Tests;

/// <summary>A client of a real scheduler.</summary>
internal static class ClientTests
{
    public static Test Tests { get; } = Runner.TestList("a client",
    [
        Check.Case("submits, and gets the result", Submits),
        Check.Case("gives the same task for the same key", SameKey),
        Check.Case("streams large payloads both ways", Streams),
        Check.Case("loses and doubles nothing when the scheduler is killed", Restart),
        Check.Case("cancels, and says when there is nothing to cancel", Cancels),
        Check.Case("tells what the scheduler is doing", Status),
        Check.Case("says why a submission was not taken", Rejected),
        Check.Case("stores results where it is asked to", Stores),
        Check.Case("refuses what cannot be sent", Invalid),
        Check.Case("says that there is no scheduler", NoScheduler),
        Check.Case("fails what waits when the scheduler stays away", StaysAway),
        Check.Case("ends what waits when it is disposed", Disposed),
    ]);

    private static async Task Submits()
    {
        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await scheduler.ConnectAsync();
        var submission = Lower("OLÁ");
        var task = await Check.Within(client.SubmitAsync(submission));
        Check.True(task.Id >= 1, "the task has a number");
        var done = Check.Is<Outcome.Succeeded>(await Check.Within(task.Completion));
        Check.Equal("olá", await done.Result.ReadTextAsync(), "the result");
        Check.Equal(4L, done.Result.Length, "its length");
        Check.Equal(task.Id, done.TaskId, "the task");
        Check.Equal(task.Key, done.Key, "the key");
        Check.Equal(1, done.Attempts, "attempts");
        Check.True(ReferenceEquals(submission, done.Submission), "the submission comes back");
    }

    private static async Task SameKey()
    {
        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await scheduler.ConnectAsync();
        var first = await Check.Within(client.SubmitAsync(Lower("SIM") with { Key = "pedido-77" }));
        await Check.Within(first.Completion);
        var second = await Check.Within(client.SubmitAsync(Lower("SIM") with { Key = "pedido-77" }));
        Check.Equal(first.Id, second.Id, "the task");
        var done = Check.Is<Outcome.Succeeded>(await Check.Within(second.Completion));
        Check.Equal("sim", await done.Result.ReadTextAsync(), "the result");
        var other = await Check.ThrowsAsync<SubmissionRejectedException>(
            () => client.SubmitAsync(Lower("SEM") with { Key = "pedido-77" }));
        Check.Equal(RejectionReason.BadKey, other.Reason, "the reason");
    }

    private static async Task Streams()
    {
        var scheduler = await TestScheduler.SharedAsync();
        var client = await scheduler.ConnectAsync();
        var bytes = new byte[8 * 1024 * 1024];
        new Random(1).NextBytes(bytes);
        var text = Convert.ToHexString(bytes);
        var expected = SHA256.HashData(Encoding.UTF8.GetBytes(text.ToLowerInvariant()));
        var path = Path.Combine(scheduler.Folder, "large.txt");
        await File.WriteAllTextAsync(path, text);
        await using var unseekable = new BufferedStream(File.OpenRead(path));
        var kept = "";

        foreach (var payload in new[] { Payload.FromStream(unseekable), Payload.FromFile(path) })
        {
            var task = await Check.Within(client.SubmitAsync(new() { Name = "large", Pipeline = "lower", Payload = payload }));
            var done = Check.Is<Outcome.Succeeded>(await Check.Within(task.Completion));

            await using (var stream = done.Result.OpenRead())
            {
                kept = Check.Is<FileStream>(stream).Name;
                Check.Equal(Convert.ToHexString(expected), Convert.ToHexString(await SHA256.HashDataAsync(stream)), "the result");
            }

            Check.Equal(1, Directory.GetFiles(Path.GetDirectoryName(kept)!).Length, "only the result is left, and no payload");
            done.Result.Dispose();
            Check.True(!File.Exists(kept), "it is gone when it is disposed");
        }

        await Check.ThrowsAsync<InvalidOperationException>(async () =>
        {
            var once = Payload.FromStream(new MemoryStream([1]));
            await client.SubmitAsync(new() { Name = "a", Pipeline = "bytes", Payload = once });
            await client.SubmitAsync(new() { Name = "a", Pipeline = "bytes", Payload = once });
        });
        await client.DisposeAsync();
        Check.True(!Directory.Exists(Path.GetDirectoryName(kept)), "the folder of the client is gone with it");
    }

    private static async Task Restart()
    {
        const int Count = 60;
        await using var scheduler = await TestScheduler.StartAsync("--workers", "1");
        await using var client = await Check.Within(SchedulerClient.ConnectAsync(scheduler.Options with { MaxPending = 30 }));
        var ids = new Dictionary<string, long>();
        var large = new string('X', 2 * 1024 * 1024);

        async IAsyncEnumerable<Submission> Source()
        {
            for (var index = 0; index < Count; index++)
            {
                // Of those in streams, what was sent has to be kept to be sent again.
                yield return index % 20 == 0
                    ? Lower("", $"n/{index}") with { Payload = Payload.FromStream(new MemoryStream(Encoding.UTF8.GetBytes(large))) }
                    : Lower($"TEXTO {index}", $"n/{index}");
                await Task.Yield();
            }
        }

        await foreach (var outcome in client.SubmitManyAsync(Source()))
        {
            using var result = Check.Is<Outcome.Succeeded>(outcome).Result;
            var name = outcome.Submission.Name;
            var expected = int.Parse(name[2..]) % 20 == 0 ? large.ToLowerInvariant() : $"texto {name[2..]}";
            Check.True(expected == await result.ReadTextAsync(), $"the result of {name}");
            Check.True(ids.TryAdd(name, ((Outcome.Succeeded)outcome).TaskId), $"{name} once");

            if (ids.Count is 10 or 35)
            {
                scheduler.Kill();
                await scheduler.StartAgainAsync();
            }
        }

        Check.Equal(Count, ids.Count, "outcomes");
        Check.Equal(Count, ids.Values.Distinct().Count(), "tasks");
        var status = await Check.Within(client.GetStatusAsync());
        Check.Equal((long)Count, status.Finished, "tasks that the scheduler has finished: none was doubled");
    }

    private static async Task Cancels()
    {
        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await scheduler.ConnectAsync();
        var task = await Check.Within(client.SubmitAsync(Held));
        Check.True(await Check.Within(client.CancelAsync(task.Id)), "there is a task to cancel");
        var cancelled = Check.Is<Outcome.Cancelled>(await Check.Within(task.Completion));
        Check.Equal(task.Id, cancelled.TaskId, "the task");
        Check.Equal(0, cancelled.Attempts, "attempts");
        Check.True(!await Check.Within(client.CancelAsync(task.Id)), "there is nothing more to cancel");
        await Check.ThrowsAsync<ArgumentOutOfRangeException>(() => client.CancelAsync(0));
    }

    private static async Task Status()
    {
        await using var scheduler = await TestScheduler.StartAsync("--expect", "ocr");
        await using var client = await scheduler.ConnectAsync();
        await Check.Within(client.SubmitAsync(Lower("A") with { Pipeline = "ocr" }));
        await Check.Within(client.SubmitAsync(Lower("B")));

        // Asked all at once, each gets its answer.
        foreach (var status in await Check.Within(Task.WhenAll(Enumerable.Range(0, 20).Select(_ => client.GetStatusAsync()))))
        {
            Check.Equal(2L, status.Queued, "queued");
            Check.Equal(0, status.Workers.Count, "workers");
            Check.True(status.MissingStages.Contains("ocr"), "what nobody offers");
            Check.True(status.Trouble is null, "no trouble");
        }

        // An answer that nobody waits for any more is not taken for that of the next.
        await Check.Eventually("a call ends before its answer", async () =>
        {
            try
            {
                await client.CancelAsync(999, new(canceled: true));
                return false; // the answer was faster
            }
            catch (OperationCanceledException)
            {
                return true;
            }
        });
        Check.Equal(2L, (await Check.Within(client.GetStatusAsync())).Queued, "queued");
    }

    private static async Task Rejected()
    {
        await using var scheduler = await TestScheduler.StartAsync("--max-payload", "100KiB", "--workers", "1");
        await using var client = await scheduler.ConnectAsync();
        var unknown = Lower("A") with { Pipeline = "lowr" };
        var error = await Check.ThrowsAsync<SubmissionRejectedException>(() => client.SubmitAsync(unknown));
        Check.Equal(RejectionReason.BadPipeline, error.Reason, "the reason");
        Check.Contains("did you mean 'lower'?", error.Message);
        var large = Lower("") with { Payload = Payload.FromStream(new MemoryStream(new byte[10_000_000])) };
        var tooLarge = await Check.ThrowsAsync<SubmissionRejectedException>(() => client.SubmitAsync(large));
        Check.Equal(RejectionReason.TooLarge, tooLarge.Reason, "the reason");

        // Among many, it is an outcome like any other.
        var outcomes = new List<Outcome>();

        await foreach (var outcome in client.SubmitManyAsync(new[] { unknown, Lower("A") }.ToAsyncEnumerable()))
        {
            outcomes.Add(outcome);
        }

        Check.Equal(RejectionReason.BadPipeline, outcomes.OfType<Outcome.Rejected>().Single().Reason, "the reason");
        Check.Equal(1, outcomes.OfType<Outcome.Succeeded>().Count(), "the other one is done");
    }

    private static async Task Stores()
    {
        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await scheduler.ConnectAsync();
        var stored = await Check.Within(client.SubmitAsync(Lower("A", "x/a.txt") with { Delivery = Delivery.Stored }));
        Check.Equal(0L, Check.Is<Outcome.Succeeded>(await Check.Within(stored.Completion)).Result.Length, "nothing comes back");
        var path = Path.Combine(scheduler.Folder, "resultados", "x", "a.txt.out");
        Check.Equal("a", await File.ReadAllTextAsync(path), "the file");
        var nothing = await Check.Within(client.SubmitAsync(Lower("B") with { Delivery = Delivery.Nothing }));
        Check.Equal(0L, Check.Is<Outcome.Succeeded>(await Check.Within(nothing.Completion)).Result.Length, "nothing comes back");
    }

    private static async Task Invalid()
    {
        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await scheduler.ConnectAsync();

        foreach (var wrong in new[]
        {
            Lower("A", "../a"),
            Lower("A") with { Priority = 1_000_001 },
            Lower("A") with { Priority = int.MinValue },
            Lower("A") with { Key = new('k', 201) },
            Lower("A") with { Pipeline = new('p', 8_001) },
            Lower("A") with { Delivery = (Delivery)9 },
        })
        {
            await Check.ThrowsAsync<ArgumentException>(() => client.SubmitAsync(wrong));
        }

        await Check.ThrowsAsync<FileNotFoundException>(
            () => client.SubmitAsync(Lower("A") with { Payload = Payload.FromFile(Path.Combine(scheduler.Folder, "none")) }));

        foreach (var options in new[]
        {
            scheduler.Options with { Address = "nowhere" },
            scheduler.Options with { Token = new('x', 1_001) },
            scheduler.Options with { Name = new('x', 201) },
            scheduler.Options with { ConnectTimeout = TimeSpan.Zero },
            scheduler.Options with { ReconnectTimeout = TimeSpan.FromSeconds(-2) },
            scheduler.Options with { MaxPending = 0 },
        })
        {
            await Check.ThrowsAsync<ArgumentException>(() => SchedulerClient.ConnectAsync(options));
        }
    }

    private static async Task NoScheduler()
    {
        var nobody = await Check.ThrowsAsync<SchedulerUnavailableException>(
            () => SchedulerClient.ConnectAsync(new() { Address = "127.0.0.1:1" }));
        Check.Contains("127.0.0.1:1", nobody.Message);
        using var silent = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        silent.Start();
        var options = new SchedulerClientOptions
        {
            Address = $"{silent.LocalEndpoint}",
            ConnectTimeout = TimeSpan.FromMilliseconds(200),
        };
        Check.Contains(
            "does not answer",
            (await Check.ThrowsAsync<SchedulerUnavailableException>(() => SchedulerClient.ConnectAsync(options))).Message);
        using var gone = new CancellationTokenSource();
        var connecting = SchedulerClient.ConnectAsync(options with { ConnectTimeout = TimeSpan.FromHours(1) }, gone.Token);
        await gone.CancelAsync();
        await Check.ThrowsAsync<OperationCanceledException>(() => connecting);
    }

    private static async Task StaysAway()
    {
        await using var scheduler = await TestScheduler.StartAsync();
        await using var client = await Check.Within(
            SchedulerClient.ConnectAsync(scheduler.Options with { ReconnectTimeout = TimeSpan.FromMilliseconds(50) }));
        var task = await Check.Within(client.SubmitAsync(Lower("A") with { Key = "k" }));
        scheduler.Kill();
        await Check.ThrowsAsync<SchedulerUnavailableException>(() => task.Completion);
        await Check.ThrowsAsync<SchedulerUnavailableException>(() => client.SubmitAsync(Lower("B")));
        await Check.ThrowsAsync<SchedulerUnavailableException>(() => client.GetStatusAsync());

        // It is looked for all the same, and the key finds the task.
        await scheduler.StartAgainAsync();
        TaskHandle? again = null;

        await Check.Eventually("the scheduler is found", async () =>
        {
            try
            {
                again = await client.SubmitAsync(Lower("A") with { Key = "k" });
                return true;
            }
            catch (SchedulerUnavailableException)
            {
                return false;
            }
        });
        Check.Equal(task.Id, again!.Id, "the task");
    }

    private static async Task Disposed()
    {
        var scheduler = await TestScheduler.SharedAsync();
        var client = await Check.Within(SchedulerClient.ConnectAsync(scheduler.Options with { MaxPending = 1 }));
        var task = await Check.Within(client.SubmitAsync(Held));
        var waiting = client.SubmitAsync(Held);
        await Check.Within(client.DisposeAsync().AsTask());
        await Check.ThrowsAsync<ObjectDisposedException>(() => task.Completion);
        await Check.ThrowsAsync<ObjectDisposedException>(() => waiting);
        await Check.ThrowsAsync<ObjectDisposedException>(() => client.SubmitAsync(Lower("C")));
        await Check.ThrowsAsync<ObjectDisposedException>(() => client.GetStatusAsync());
        await Check.Within(client.DisposeAsync().AsTask());
    }
}
