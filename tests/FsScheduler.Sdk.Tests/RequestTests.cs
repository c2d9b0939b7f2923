using System.Text;
using Expecto;
using Expecto.CSharp;
using FsScheduler.TestKit;
using static FsScheduler.Sdk.Tests.Submissions;

namespace FsScheduler.Sdk.Tests;

/// <summary>Questions about tasks and commands, to a real scheduler and to one that is played by hand.</summary>
internal static class RequestTests
{
    public static Test Tests { get; } = Runner.TestList("requests",
    [
        Check.Case("list tasks a page at a time, and explain them", Lists),
        Check.Case("bring events, stages and results", Brings),
        Check.Case("cancel, retry and drain, and say what was wrong with each", Commands),
        Check.Case("outside of a page are refused before they are sent", Invalid),
        Check.Case("leave room when the outcome is not waited for", Enqueues),
        Check.Case("say an accepted submission once, over all connections", EnqueuesOnce),
        Check.Case("fail with the connection, where nobody waits for the scheduler", Closed),
        Check.Case("fail when the answer takes too long", Unanswered),
        Check.Case("are told apart from what the scheduler says unasked", Unasked),
        Check.Case("do not go on for ever where each connection is closed", ClosedAgain),
        Check.Case("end where each connection is closed over them", ClosedOverRequest),
        Check.Case("keep large results in the folder that is given, through a restart", KeepsResults),
        Check.Case("send the file that a link leads to", Link),
    ]);

    private static async Task Lists()
    {
        await using var scheduler = await TestScheduler.StartAsync("--workers", "1", "--expect", "nobody", "--max-attempts", "1");
        await using var client = await scheduler.ConnectAsync();
        var done = await Check.Within(client.SubmitAsync(Lower("A", "d/a.txt") with { Delivery = Delivery.Stored }));
        await Check.Within(done.Completion);
        var bad = await Check.Within(client.SubmitAsync(Lower("", "bad") with { Payload = Payload.FromBytes(new byte[] { 0xFF }) }));
        Check.Is<Outcome.Failed>(await Check.Within(bad.Completion));
        var held = await Check.Within(client.SubmitAsync(Lower("B", "held") with { Pipeline = "nobody" }));

        var first = await Check.Within(client.ListAsync(new() { Most = 1 }));
        var quarantined = first.Tasks.Single();
        Check.Equal((bad.Id, "bad", "quarantined"), (quarantined.TaskId, quarantined.Name, quarantined.State), "the first");
        Check.Contains("invalid UTF-8", quarantined.Error ?? "");
        Check.True(first.HasMore, "there are more");
        var second = (await Check.Within(client.ListAsync(new() { After = first.Last }))).Tasks.Single();
        Check.Equal((held.Id, "nobody", (string?)null), (second.TaskId, second.Stage, second.Error), "the second");
        var ended = await Check.Within(client.ListAsync(new() { States = ["done"], Name = "a.*" }));
        Check.Equal(done.Id, ended.Tasks.Single().TaskId, "the one that is done");

        var why = await Check.Within(client.ExplainAsync(bad.Id));
        Check.Equal(("bad", "quarantined", "lower"), (why.Name, why.State, why.Pipeline), "the explanation");
        Check.True(why.Sentences.Count > 0, "sentences");
        Check.Contains("\"sentences\"", Encoding.UTF8.GetString(why.Json.Span));
        var unknown = await Check.ThrowsAsync<RequestRefusedException>(() => client.ExplainAsync(99));
        Check.Contains("99", unknown.Message);

        var status = await Check.Within(client.GetStatusAsync());
        Check.Equal((1L, 1L), (status.Unfinished, status.FinishedLastMinute), "counts");
        Check.Contains("\"type\":\"STATUS\"", status.ToJson());
    }

    private static async Task Brings()
    {
        await using var scheduler = await TestScheduler.StartAsync("--workers", "1", "--expect", "nobody");
        await using var client = await scheduler.ConnectAsync();
        var text = new string('A', 2 * 1024 * 1024);
        var task = await Check.Within(client.SubmitAsync(Lower(text, "a.txt") with { Delivery = Delivery.Stored }));
        await Check.Within(task.Completion);
        var held = await Check.Within(client.SubmitAsync(Lower("B") with { Pipeline = "nobody" }));

        using (var result = await Check.Within(client.FetchAsync(task.Id)))
        {
            Check.True(await result.ReadTextAsync() == text.ToLowerInvariant(), "the result");
        }

        Check.Contains(
            $"task {held.Id}",
            (await Check.ThrowsAsync<RequestRefusedException>(() => client.FetchAsync(held.Id))).Message);

        var all = await Check.Within(client.GetEventsAsync());
        var mine = await Check.Within(client.GetEventsAsync(new() { TaskId = held.Id }));
        Check.Contains("\"submitted\"", Encoding.UTF8.GetString(mine.Lines.Span));
        var none = await Check.Within(client.GetEventsAsync(new() { After = all.Last }));
        Check.Equal((0, all.Last), (none.Lines.Length, none.Last), "no more events");

        var stages = await Check.Within(client.GetStagesAsync());
        Check.Equal((1, 0L), (stages.Single(each => each.Stage == "lower").Workers, stages.Single(each => each.Stage == "lower").Queued), "lower");
        Check.Equal((0, 1L), (stages.Single(each => each.Stage == "nobody").Workers, stages.Single(each => each.Stage == "nobody").Queued), "nobody");
    }

    private static async Task Commands()
    {
        await using var scheduler = await TestScheduler.StartAsync("--workers", "1", "--expect", "nobody");
        await using var client = await scheduler.ConnectAsync();
        var held = await Check.Within(client.SubmitAsync(Lower("A") with { Pipeline = "nobody" }));
        var cancelled = await Check.Within(client.CancelAsync([77, held.Id, 78]));
        Check.Equal(2, cancelled.Errors.Count, "two are not known");
        Check.Contains("77", cancelled.Errors[0]);
        Check.Contains("78", cancelled.Errors[1]);
        Check.True(cancelled.Trouble is null, "no trouble");
        Check.Is<Outcome.Cancelled>(await Check.Within(held.Completion));

        var bad = await Check.Within(client.SubmitAsync(Lower("") with { Payload = Payload.FromBytes(new byte[] { 0xFF }) }));
        Check.Is<Outcome.Failed>(await Check.Within(bad.Completion));
        Check.Equal(0, (await Check.Within(client.RetryAsync(bad.Id))).Errors.Count, "it is tried again");
        Check.Equal(1, (await Check.Within(client.RetryAsync(99))).Errors.Count, "unknown");
        await Check.Eventually("it fails again", async () => (await client.GetStatusAsync()).Quarantined == 1);
        Check.Equal(0, (await Check.Within(client.RetryAllAsync())).Errors.Count, "all are tried again");
        await Check.Eventually("it fails again", async () => (await client.GetStatusAsync()).Quarantined == 1);
        Check.Equal(1, (await Check.Within(client.RetryAllAsync("upper"))).Errors.Count, "a client's task keeps its pipeline");

        var drained = await Check.Within(client.DrainAsync(["nix"]));
        Check.Contains("nix", drained.Errors.Single());
        var worker = (await Check.Within(client.GetStatusAsync())).Workers.Single().Name;
        Check.Equal(0, (await Check.Within(client.DrainAsync([worker]))).Errors.Count, "the worker is told");
    }

    private static async Task Invalid()
    {
        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await scheduler.ConnectAsync();

        foreach (var query in new TaskQuery[] { new() { Most = 0 }, new() { Most = 10_001 }, new() { After = -1 }, new() { States = ["nix"] } })
        {
            await Check.ThrowsAsync<ArgumentException>(() => client.ListAsync(query));
        }

        await Check.ThrowsAsync<ArgumentException>(() => client.GetEventsAsync(new() { After = -1 }));
        await Check.ThrowsAsync<ArgumentException>(
            () => SchedulerClient.ConnectAsync(scheduler.Options with { AnswerTimeout = TimeSpan.Zero }));
    }

    private static async Task Enqueues()
    {
        await using var scheduler = await TestScheduler.StartAsync("--expect", "nobody");
        await using var client = await Check.Within(SchedulerClient.ConnectAsync(scheduler.Options with { MaxPending = 2 }));
        var ids = new List<long>();

        for (var index = 0; index < 5; index++)
        {
            ids.Add(await Check.Within(client.EnqueueAsync(Lower("A") with { Pipeline = "nobody", Delivery = Delivery.Stored })));
        }

        Check.Equal("1 2 3 4 5", string.Join(' ', ids), "the numbers");
        await Check.ThrowsAsync<SubmissionRejectedException>(() => client.EnqueueAsync(Lower("A") with { Pipeline = "nix" }));
    }

    private static async Task EnqueuesOnce()
    {
        await using var played = new FakeScheduler();
        var (connected, first) = await ConnectAsync(played, options => options);
        await using var client = connected;
        var enqueuing = client.EnqueueAsync(Lower("A"));
        var submitted = await first.Expect("SUBMIT");
        await first.Send($$"""{"type":"ACCEPTED","ref":"{{submitted.Text("ref")}}","task":1}""");
        await Check.Within(enqueuing);
        Close(first);
        var second = await played.WelcomeAsync(FakeScheduler.Welcome);
        var asking = client.ExplainAsync(1);
        await second.Expect("EXPLAIN");
        await client.DisposeAsync();
        await Check.ThrowsAsync<ObjectDisposedException>(() => asking);
    }

    private static async Task Closed()
    {
        await using var played = new FakeScheduler();
        var (connected, first) = await ConnectAsync(played, options => options with { ReconnectTimeout = TimeSpan.Zero });
        await using var client = connected;
        var asking = client.ExplainAsync(1);
        await first.Expect("EXPLAIN");
        Close(first);
        var error = await Check.ThrowsAsync<SchedulerUnavailableException>(() => asking);
        Check.Contains("has closed the connection", error.Message);
    }

    private static async Task Unanswered()
    {
        await using var played = new FakeScheduler();
        var (connected, peer) = await ConnectAsync(played, options => options with { AnswerTimeout = TimeSpan.FromMilliseconds(50) });
        await using var client = connected;
        var error = await Check.ThrowsAsync<SchedulerUnavailableException>(() => client.ExplainAsync(1));
        Check.Contains("does not answer within 0.05 s", error.Message);

        // The first one has its turn until it is answered.
        error = await Check.ThrowsAsync<SchedulerUnavailableException>(() => client.GetStatusAsync());
        Check.Contains("does not answer within 0.05 s", error.Message);
    }

    private static async Task Unasked()
    {
        var notices = System.Threading.Channels.Channel.CreateUnbounded<SchedulerNotice>();
        await using var played = new FakeScheduler();
        var (connected, peer) = await ConnectAsync(played, options => options with { OnNotice = notice => notices.Writer.TryWrite(notice) });
        await using var client = connected;
        await peer.Send("""{"type":"ERROR","code":"bad-field","message":"nobody asked"}""");
        var refused = Check.Is<SchedulerNotice.Refused>(await Check.Within(notices.Reader.ReadAsync().AsTask()));
        Check.Equal("nobody asked", refused.Message, "the notice");

        // The answer to a call that has ended is not that of the next.
        using var gone = new CancellationTokenSource();
        var left = client.ExplainAsync(1, gone.Token);
        await peer.Expect("EXPLAIN");
        await gone.CancelAsync();
        await Check.ThrowsAsync<OperationCanceledException>(() => left);
        var next = client.ExplainAsync(2);
        await peer.Send("""{"type":"ERROR","code":"bad-field","message":"the first"}""");
        Check.Equal(2L, (await peer.Expect("EXPLAIN")).Number("task"), "the next task");
        await peer.Send("""{"type":"ERROR","code":"bad-field","message":"the second"}""");
        Check.Equal("the second", (await Check.ThrowsAsync<RequestRefusedException>(() => next)).Message, "the answer");

        // STATUS has no errors.
        var status = client.GetStatusAsync();
        await peer.Expect("STATUS");
        await peer.Send("""{"type":"ERROR","code":"bad-field","message":"of a submission"}""");
        refused = Check.Is<SchedulerNotice.Refused>(await Check.Within(notices.Reader.ReadAsync().AsTask()));
        Check.Equal("of a submission", refused.Message, "the other notice");
    }

    private static async Task ClosedAgain()
    {
        await using var played = new FakeScheduler();
        var (connected, peer) = await ConnectAsync(played, options => options with { ReconnectTimeout = TimeSpan.FromMilliseconds(300) });
        await using var client = connected;
        var submitting = client.SubmitAsync(Lower("A"));
        await CloseEachAsync(played, peer, "SUBMIT", submitting);
        Check.Contains("was away for", (await Check.ThrowsAsync<SchedulerUnavailableException>(() => submitting)).Message);
    }

    private static async Task ClosedOverRequest()
    {
        await using var played = new FakeScheduler();
        var (connected, peer) = await ConnectAsync(played, options => options with { ReconnectTimeout = TimeSpan.FromMilliseconds(300) });
        await using var client = connected;
        var asking = client.DrainAsync(["w"]);
        await CloseEachAsync(played, peer, "DRAIN", asking);
        var error = await Check.ThrowsAsync<SchedulerUnavailableException>(() => asking);
        Check.Contains("was away for", error.Message);
        Check.Contains("never", error.Message);
    }

    private static async Task KeepsResults()
    {
        await using var scheduler = await TestScheduler.StartAsync("--workers", "1");
        var folder = Directory.CreateDirectory(Path.Combine(scheduler.Folder, "large")).FullName;

        await using (var client = await Check.Within(SchedulerClient.ConnectAsync(scheduler.Options with { TemporaryFolder = folder })))
        {
            var text = new string('A', 2 * 1024 * 1024);
            var before = await Check.Within((await Check.Within(client.SubmitAsync(Lower(text)))).Completion);
            scheduler.Kill();
            await scheduler.StartAgainAsync();
            var after = await Check.Within((await Check.Within(client.SubmitAsync(Lower(text + "B")))).Completion);
            Check.Equal(2, client.ConnectionCount, "connections");
            using var first = Check.Is<Outcome.Succeeded>(before).Result;
            using var second = Check.Is<Outcome.Succeeded>(after).Result;
            Check.True(await first.ReadTextAsync() == text.ToLowerInvariant(), "the result from before is still the same");
            Check.Equal(2, Directory.GetFiles(folder).Length, "each has a file");
            var path = Path.Combine(scheduler.Folder, "moved");
            second.MoveTo(path);
            Check.Equal(text.Length + 1L, new FileInfo(path).Length, "what was moved");
        }

        Check.Equal(0, Directory.GetFileSystemEntries(folder).Length, "nothing is left in the folder");
    }

    private static async Task Link()
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        var scheduler = await TestScheduler.SharedAsync();
        await using var client = await scheduler.ConnectAsync();
        var file = Path.Combine(scheduler.Folder, "with a long name that is longer than what is in the file");
        await File.WriteAllTextAsync(file, "OLÁ");
        var link = Path.Combine(scheduler.Folder, "link");
        File.CreateSymbolicLink(link, file);
        var task = await Check.Within(client.SubmitAsync(Lower("") with { Payload = Payload.FromFile(link) }));
        Check.Equal("olá", await Check.Is<Outcome.Succeeded>(await Check.Within(task.Completion)).Result.ReadTextAsync(), "the result");
    }

    /// <summary>A client of a scheduler that is played by hand, and the connection as that scheduler has it.</summary>
    private static async Task<(SchedulerClient Client, Peer Peer)> ConnectAsync(
        FakeScheduler played, Func<SchedulerClientOptions, SchedulerClientOptions> change)
    {
        var connecting = SchedulerClient.ConnectAsync(change(new() { Address = played.Address }));
        var peer = await played.WelcomeAsync(FakeScheduler.Welcome);
        return (await Check.Within(connecting), peer);
    }

    /// <summary>Closes each connection that a call is sent over, until the call has ended.</summary>
    private static async Task CloseEachAsync(FakeScheduler played, Peer peer, string message, Task call)
    {
        // The time may be over between the welcome and the message: then there is none.
        while (!call.IsCompleted && await peer.TryReceive() is { } frame)
        {
            Check.Equal(message, frame.Value.Type, "what is sent again");
            await peer.Send("""{"type":"ERROR","code":"bad-frame","message":"never"}""");
            Close(peer);
            var next = played.WelcomeAsync(FakeScheduler.Welcome);
            await Task.WhenAny(next, call);

            if (!call.IsCompleted)
            {
                peer = await next;
            }
        }
    }

    private static void Close(IDisposable peer) => peer.Dispose();
}
