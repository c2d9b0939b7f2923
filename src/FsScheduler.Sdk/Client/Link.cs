using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.FSharp.Core;

namespace FsScheduler.Sdk;

/// <summary>The connection of a client over all reconnections: what was submitted and has no outcome is said again on each
/// new one. Keys make that safe.</summary>
internal sealed class Link : IAsyncDisposable
{
    private readonly SchedulerClientOptions options;
    private readonly ILogger logger;
    private readonly Lock gate = new();
    private readonly Dictionary<string, Pending> pending = [];
    private readonly Queue<Question> questions = [];
    private readonly SemaphoreSlim room;
    private readonly CancellationTokenSource closing = new();
    private Runtime.SchedulerClient? wire;
    private TaskCompletionSource online = NewOnline();
    private Exception? end;
    private Task receiving = Task.CompletedTask;
    private int failures;
    private long lostAt;

    private Link(SchedulerClientOptions options)
    {
        this.options = options;
        logger = options.Logger ?? NullLogger.Instance;
        room = new(options.MaxPending);
        Folder = Directory.CreateTempSubdirectory("fs-client-").FullName;
    }

    /// <summary>For payloads and results that are too large for memory.</summary>
    public string Folder { get; }

    /// <summary>The most bytes that the scheduler takes, as it last said.</summary>
    public long MaxPayload { get; private set; }

    public static async Task<Link> StartAsync(SchedulerClientOptions options, CancellationToken ct)
    {
        var link = new Link(options);

        try
        {
            var first = await link.OpenAsync(ct).ConfigureAwait(false);
            link.Attach(first);
            link.receiving = Task.Run(() => link.ReceiveAsync(first), CancellationToken.None);
            return link;
        }
        catch
        {
            await link.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Waits for room, and sends. The room is taken until the outcome.</summary>
    public async Task<Pending> SubmitAsync(Submission submission, CancellationToken ct)
    {
        var key = submission.Key ?? Guid.NewGuid().ToString("N");
        var message = submission.ToWire(Guid.NewGuid().ToString("N"), key);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(ct, closing.Token);

        try
        {
            await room.WaitAsync(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new ObjectDisposedException(nameof(SchedulerClient));
        }

        try
        {
            var parcel = await submission.Payload.PrepareAsync(Folder, MaxPayload, ct).ConfigureAwait(false);
            var added = new Pending(submission, key, message, parcel);
            _ = added.Ended.ContinueWith(
                _ => room.Release(),
                CancellationToken.None,
                TaskContinuationOptions.ExecuteSynchronously,
                TaskScheduler.Default);

            lock (gate)
            {
                if (end is null)
                {
                    pending.Add(message.@ref, added);
                    Post(added);
                }
                else
                {
                    added.Fail(end);
                }
            }

            return added;
        }
        catch
        {
            room.Release();
            throw;
        }
    }

    /// <summary>Says a command, if there is one, and asks for the status behind it; again when the connection is lost.</summary>
    public async Task<Question.Answer> AskAsync(Core.ToScheduler? command, CancellationToken ct)
    {
        while (true)
        {
            var question = new Question();
            Task waiting;

            lock (gate)
            {
                if (end is not null)
                {
                    throw end;
                }

                waiting = online.Task;

                if (wire is not null)
                {
                    questions.Enqueue(question);

                    if (command is not null)
                    {
                        wire.Post(command);
                    }

                    wire.Post(Core.ToScheduler.Status);
                }
                else
                {
                    question.Lose();
                }
            }

            if (await question.Answered.WaitAsync(ct).ConfigureAwait(false) is { } answer)
            {
                return answer;
            }

            await waiting.WaitAsync(ct).ConfigureAwait(false);
        }
    }

    public async ValueTask DisposeAsync()
    {
        lock (gate)
        {
            end ??= new ObjectDisposedException(nameof(SchedulerClient));
        }

        await closing.CancelAsync().ConfigureAwait(false);
        await receiving.ConfigureAwait(false);
        FailAll(new ObjectDisposedException(nameof(SchedulerClient)));

        try
        {
            Directory.Delete(Folder, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            logger.LogWarning("{Folder} cannot be removed: {Reason}", Folder, error.Message);
        }
    }

    private static TaskCompletionSource NewOnline() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Receives over as many connections as it takes.</summary>
    private async Task ReceiveAsync(Runtime.SchedulerClient first)
    {
        var connection = first;

        while (connection is not null)
        {
            try
            {
                while (await connection.ReceiveAsync(closing.Token).ConfigureAwait(false) is { } arrival)
                {
                    Take(arrival.Value);
                }
            }
            catch (OperationCanceledException)
            {
            }

            Detach(connection);
            connection = await ReconnectAsync().ConfigureAwait(false);
        }
    }

    private async Task<Runtime.SchedulerClient?> ReconnectAsync()
    {
        while (!closing.IsCancellationRequested)
        {
            var delay = Delay(++failures);
            logger.LogWarning("no scheduler at {Address}; next try in {Delay} ms", options.Address, delay.TotalMilliseconds);

            try
            {
                await Task.Delay(delay, closing.Token).ConfigureAwait(false);
                var connection = await OpenAsync(closing.Token).ConfigureAwait(false);
                Attach(connection);
                return connection;
            }
            catch (OperationCanceledException)
            {
            }
            catch (SchedulerRefusedException error)
            {
                lock (gate)
                {
                    end ??= error;
                }

                FailAll(error);
                return null;
            }
            catch (SchedulerUnavailableException error)
            {
                var away = Stopwatch.GetElapsedTime(lostAt);

                if (options.ReconnectTimeout != Timeout.InfiniteTimeSpan && away >= options.ReconnectTimeout)
                {
                    FailAll(new SchedulerUnavailableException(
                        $"the scheduler was away for {away.TotalSeconds:F0} s: {error.Message}", error));
                }
            }
        }

        return null;
    }

    /// <summary>100 ms, doubled each time, 5 s at the most, of which the upper half is left to chance: clients that lost
    /// their scheduler together do not come back together.</summary>
    private static TimeSpan Delay(int failures)
    {
        var full = Math.Min(5_000, 100 << Math.Min(failures - 1, 10));
        return TimeSpan.FromMilliseconds((full / 2) + Random.Shared.Next((full / 2) + 1));
    }

    private async Task<Runtime.SchedulerClient> OpenAsync(CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(options.ConnectTimeout);
        Stream stream;

        try
        {
            stream = options.OpenStream is { } open
                ? await open(limit.Token).ConfigureAwait(false)
                : await Endpoint.OpenAsync(options.Address, limit.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (!ct.IsCancellationRequested)
        {
            throw new SchedulerUnavailableException($"no scheduler at {options.Address}: {error.Message}", error);
        }

        var token = options.Token is null ? null : FSharpOption<string>.Some(options.Token);
        var started = await Runtime.SchedulerClient
            .StartAsync(stream, options.Name, token, Folder, limit.Token)
            .ConfigureAwait(false);

        if (started.IsOk)
        {
            return started.ResultValue;
        }

        ct.ThrowIfCancellationRequested();

        throw started.ErrorValue switch
        {
            { IsUnauthorized: true } => new SchedulerRefusedException(
                options.Token is null
                    ? $"the scheduler at {options.Address} wants a client's token: set {nameof(SchedulerClientOptions.Token)}"
                    : $"the scheduler at {options.Address} does not know this client's token"),
            Runtime.Unwelcome.Refused refused when refused.code.IsBadVersion => new SchedulerRefusedException(
                $"the scheduler at {options.Address} says: {refused.message}"),
            Runtime.Unwelcome.Refused refused => new SchedulerUnavailableException(
                $"the scheduler at {options.Address} says: {refused.message}"),
            { IsSilent: true } => new SchedulerUnavailableException(
                $"what is at {options.Address} does not answer within {options.ConnectTimeout.TotalSeconds} s: it is stopped, or no scheduler"),
            _ => new SchedulerUnavailableException($"what is at {options.Address} is no scheduler"),
        };
    }

    private void Attach(Runtime.SchedulerClient connection)
    {
        lock (gate)
        {
            wire = connection;
            MaxPayload = connection.Welcome.maxPayload;

            // A scheduler that closes over what it is told again is as good as away: only answers count then.
            if (pending.Count == 0)
            {
                failures = 0;
            }

            foreach (var each in pending.Values.ToList())
            {
                Post(each);
            }

            online.TrySetResult();
        }
    }

    private void Detach(Runtime.SchedulerClient connection)
    {
        lock (gate)
        {
            wire = null;
            online.TrySetResult();
            online = NewOnline();

            while (questions.TryDequeue(out var question))
            {
                question.Lose();
            }
        }

        ((IDisposable)connection).Dispose();

        if (failures == 0)
        {
            lostAt = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>Sends it if there is a connection; else it is sent with the next one. Only inside the gate.</summary>
    private void Post(Pending each)
    {
        if (wire is null)
        {
            return;
        }

        if (each.Parcel.Size > MaxPayload)
        {
            pending.Remove(each.Message.@ref);
            each.End(new Outcome.Rejected(
                each.Submission,
                each.Key,
                RejectionReason.TooLarge,
                $"the payload is over the {MaxPayload} bytes that the scheduler takes; its --max-payload says how many"));
        }
        else if (each.Parcel.Trouble() is { } trouble)
        {
            pending.Remove(each.Message.@ref);
            each.Fail(trouble);
        }
        else
        {
            wire.Post(Core.ToScheduler.NewSubmit(each.Message), each.Parcel.Wire);
        }
    }

    private void Take(Runtime.Arrival<Core.FromScheduler> arrival)
    {
        if (arrival.message is not Core.FromScheduler.Error)
        {
            failures = 0;
        }

        switch (arrival.message)
        {
            case Core.FromScheduler.Accepted accepted:
                Find(accepted.@ref)?.Accept(accepted.Item2);
                break;
            case Core.FromScheduler.Done done:
                TakeDone(done.Item, arrival);
                break;
            case Core.FromScheduler.Rejected rejected when rejected.Item2.IsBusy:
                if (Find(rejected.@ref) is { } refused)
                {
                    logger.LogWarning("the scheduler is busy: {Message}", rejected.message);
                    _ = PostLaterAsync(refused);
                }

                break;
            case Core.FromScheduler.Rejected rejected:
                if (Remove(rejected.@ref) is { } ending)
                {
                    var reason = rejected.Item2.IsBadPipeline ? RejectionReason.BadPipeline
                        : rejected.Item2.IsBadName ? RejectionReason.BadName
                        : RejectionReason.BadKey;
                    ending.End(new Outcome.Rejected(ending.Submission, ending.Key, reason, rejected.message));
                }

                break;
            case Core.FromScheduler.Status status:
                NextQuestion(remove: true)?.Complete(status.Item);
                break;
            case Core.FromScheduler.Error error:
                if (NextQuestion(remove: false) is { } asked)
                {
                    asked.Trouble = error.message;
                }
                else
                {
                    logger.LogWarning("the scheduler says {Code}: {Message}", error.Item1, error.message);
                }

                break;
        }
    }

    private void TakeDone(Core.Done done, Runtime.Arrival<Core.FromScheduler> arrival)
    {
        if (Remove(done.@ref) is not { } ending)
        {
            // Said twice: submitted again over a new connection, or taken out of quarantine by somebody.
            Runtime.SpoolFile.discard(arrival.payload);
        }
        else if (done.error?.Value is { } error)
        {
            ending.End(
                error == Cancelled
                    ? new Outcome.Cancelled(ending.Submission, ending.Key, done.task, done.attempts)
                    : new Outcome.Failed(ending.Submission, ending.Key, done.task, done.attempts, error));
        }
        else if (arrival.trouble is { } trouble)
        {
            ending.Fail(new IOException($"the result of task {done.task} cannot be stored: {trouble}"));
        }
        else
        {
            ending.End(new Outcome.Succeeded(
                ending.Submission, ending.Key, done.task, done.attempts, TaskResult.Of(arrival.payload)));
        }
    }

    /// <summary>The error of a task that CANCEL ended.</summary>
    private const string Cancelled = "cancelled";

    private async Task PostLaterAsync(Pending refused)
    {
        try
        {
            await Task.Delay(Delay(++refused.Refusals), closing.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return;
        }

        lock (gate)
        {
            if (pending.ContainsKey(refused.Message.@ref))
            {
                Post(refused);
            }
        }
    }

    private Pending? Find(string reference)
    {
        lock (gate)
        {
            return pending.GetValueOrDefault(reference);
        }
    }

    private Pending? Remove(string reference)
    {
        lock (gate)
        {
            return pending.Remove(reference, out var found) ? found : null;
        }
    }

    private Question? NextQuestion(bool remove)
    {
        lock (gate)
        {
            return (remove ? questions.TryDequeue(out var next) : questions.TryPeek(out next)) ? next : null;
        }
    }

    /// <summary>Fails all that waits, also who waits for a connection.</summary>
    private void FailAll(Exception error)
    {
        List<Pending> failed;

        lock (gate)
        {
            failed = [.. pending.Values];
            pending.Clear();
            online.TrySetException(error);
            _ = online.Task.Exception;
            online = NewOnline();
        }

        foreach (var each in failed)
        {
            each.Fail(error);
        }
    }
}
