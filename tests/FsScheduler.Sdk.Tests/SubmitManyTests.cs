using System.Runtime.CompilerServices;
using Expecto;
using Expecto.CSharp;
using static FsScheduler.Sdk.Tests.Submissions;

namespace FsScheduler.Sdk.Tests;

/// <summary>Many submissions of one client: no more at once than it may have, from a source that may fail or be left.</summary>
internal static class SubmitManyTests
{
    public static Test Tests { get; } = Runner.TestList("a client",
    [
        Check.Case("submits many, and reads no further ahead than it may", BackPressure),
        Check.Case("waits while there is no room for another", WaitsForRoom),
        Check.Case("passes on what the source throws", SourceThrows),
        Check.Case("leaves a loop at any time", LeavesLoop),
    ]);

    private static async Task BackPressure()
    {
        const int Count = 500;
        const int Most = 20;
        await using var scheduler = await TestScheduler.StartAsync("--workers", "1");
        await using var client = await Check.Within(SchedulerClient.ConnectAsync(scheduler.Options with { MaxPending = Most }));
        var asked = 0;
        var taken = 0;
        var ahead = 0;

        async IAsyncEnumerable<Submission> Source()
        {
            for (var index = 0; index < Count; index++)
            {
                asked++;
                ahead = Math.Max(ahead, asked - Volatile.Read(ref taken));
                yield return Lower($"TEXTO {index}", $"n/{index}");
                await Task.Yield();
            }
        }

        var names = new HashSet<string>();

        await foreach (var outcome in client.SubmitManyAsync(Source()))
        {
            var done = Check.Is<Outcome.Succeeded>(outcome);
            Check.Equal($"texto {done.Submission.Name[2..]}", await done.Result.ReadTextAsync(), "the result");
            Check.True(names.Add(done.Submission.Name), "each once");

            if (names.Count == 1)
            {
                // This one has made room for another. All are done, which makes none: nobody has taken their outcomes.
                await Check.Eventually("all there is room for is done", async () =>
                    (await client.GetStatusAsync()).Finished > Most);
                await AnswersAsync(client);
                Check.Equal(Most + 2, Volatile.Read(ref asked), "read from the source: one more is in its hands");
            }

            Interlocked.Increment(ref taken);
        }

        Check.Equal(Count, names.Count, "outcomes");

        // One is in the hands of the source, and one in those of the loop.
        Check.True(ahead <= Most + 2, $"{ahead} ahead of {Most}");
    }

    /// <summary>Time enough, in messages, for the client to do what it should not.</summary>
    private static async Task AnswersAsync(SchedulerClient client)
    {
        for (var index = 0; index < 20; index++)
        {
            await Check.Within(client.GetStatusAsync());
        }
    }

    private static async Task WaitsForRoom()
    {
        await using var scheduler = await TestScheduler.StartAsync();
        await using var client = await Check.Within(SchedulerClient.ConnectAsync(scheduler.Options with { MaxPending = 2 }));
        var first = await Check.Within(client.SubmitAsync(Lower("A")));
        await Check.Within(client.SubmitAsync(Lower("B")));
        var third = client.SubmitAsync(Lower("C"));
        using var gone = new CancellationTokenSource();
        var left = client.SubmitAsync(Lower("D"), gone.Token);
        await AnswersAsync(client);
        Check.Equal(2L, (await Check.Within(client.GetStatusAsync())).Queued, "queued");
        await gone.CancelAsync();
        await Check.ThrowsAsync<OperationCanceledException>(() => left);
        Check.True(!third.IsCompleted, "there is no room");
        Check.True(await Check.Within(client.CancelAsync(first.Id)), "there is a task to cancel");
        Check.True((await Check.Within(third)).Id > first.Id, "what has an outcome makes room");
    }

    private static async Task SourceThrows()
    {
        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await scheduler.ConnectAsync();

        static async IAsyncEnumerable<Submission> Source()
        {
            yield return Lower("A");
            await Task.Yield();
            throw new FormatException("the source");
        }

        var error = await Check.ThrowsAsync<FormatException>(async () =>
        {
            await foreach (var _ in client.SubmitManyAsync(Source()))
            {
            }
        });
        Check.Equal("the source", error.Message, "the message");
    }

    private static async Task LeavesLoop()
    {
        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await Check.Within(SchedulerClient.ConnectAsync(scheduler.Options with { MaxPending = 5 }));
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

        async IAsyncEnumerable<Submission> Forever([EnumeratorCancellation] CancellationToken ct = default)
        {
            try
            {
                while (true)
                {
                    yield return Lower("A");
                    await Task.Yield();
                }
            }
            finally
            {
                ended.SetResult();
            }
        }

        await foreach (var outcome in client.SubmitManyAsync(Forever()))
        {
            Check.Is<Outcome.Succeeded>(outcome);
            break;
        }

        await Check.Within(ended.Task);

        // What was on its way gives its room back when it ends.
        for (var index = 0; index < 10; index++)
        {
            Check.Is<Outcome.Succeeded>(await Check.Within((await Check.Within(client.SubmitAsync(Lower("B")))).Completion));
        }
    }
}
