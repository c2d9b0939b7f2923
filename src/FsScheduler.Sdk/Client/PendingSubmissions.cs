using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk;

/// <summary>What was submitted and has no outcome, a bounded number. All of it is said again on each new connection; keys
/// make that safe.</summary>
internal sealed class PendingSubmissions(
    SchedulerClientOptions options, ILogger? logger, Action<SchedulerNotice> tell, string folder) : IDisposable
{
    private readonly Lock gate = new();
    private readonly Dictionary<string, PendingSubmission> pending = [];
    private readonly SemaphoreSlim room = new(options.MaxPending);
    private readonly CancellationTokenSource closing = new();
    private Protocol.ClientConnection? wire;
    private Exception? end;

    private long maxPayload;

    /// <summary>The most bytes of a payload that the scheduler takes, as it last said.</summary>
    public long MaxPayload => Volatile.Read(ref maxPayload);

    /// <summary>Waits for room, and sends. The room is taken until the outcome.</summary>
    public async Task<PendingSubmission> AddAsync(Submission submission, CancellationToken ct)
    {
        var key = submission.Key ?? Guid.NewGuid().ToString("N");
        var message = submission.ToWire(Guid.NewGuid().ToString("N"), key);
        await WaitForRoomAsync(ct).ConfigureAwait(false);
        PreparedPayload prepared;

        try
        {
            prepared = await submission.Payload.PrepareAsync(folder, MaxPayload, ct).ConfigureAwait(false);
        }
        catch
        {
            room.Release();
            throw;
        }

        var added = new PendingSubmission(submission, key, message, prepared);
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

    /// <summary>Sends all over a new connection. False: there was nothing to send.</summary>
    public bool Attach(Protocol.ClientConnection connection)
    {
        lock (gate)
        {
            wire = connection;
            Volatile.Write(ref maxPayload, connection.Welcome.maxPayload);
            List<PendingSubmission> again = [.. pending.Values];
            again.ForEach(Post);
            return again.Count > 0;
        }
    }

    public void Detach()
    {
        lock (gate)
        {
            wire = null;
        }
    }

    public void Accepted(string reference, long task)
    {
        PendingSubmission? found;

        lock (gate)
        {
            found = pending.GetValueOrDefault(reference);
        }

        found?.Accept(task);
    }

    public void Rejected(Core.FromScheduler.Rejected rejected)
    {
        var code = rejected.Item2;

        if (code.IsBusy)
        {
            logger?.LogWarning("the scheduler is busy: {Message}", rejected.message);
            tell(new SchedulerNotice.Busy(rejected.message));
            _ = PostLaterAsync(rejected.@ref);
        }
        else if (Remove(rejected.@ref) is { } ended)
        {
            var reason = code.IsBadPipeline ? RejectionReason.BadPipeline
                : code.IsBadName ? RejectionReason.BadName
                : RejectionReason.BadKey;
            ended.End(new Outcome.Rejected(ended.Submission, ended.Key, reason, rejected.message));
        }
    }

    public void Done(Core.Done done, Core.Payload result, string? trouble)
    {
        if (Remove(done.@ref) is not { } ended)
        {
            // Said twice: submitted again over a new connection, or taken out of quarantine by somebody.
            Protocol.SpoolFile.discard(result);
        }
        else if (done.outcome.IsCancelled)
        {
            ended.End(new Outcome.Cancelled(ended.Submission, ended.Key, done.task, done.attempts));
        }
        else if (done.error?.Value is { } error)
        {
            ended.End(new Outcome.Failed(ended.Submission, ended.Key, done.task, done.attempts, error));
        }
        else if (trouble is not null)
        {
            ended.Fail(new AnswerNotStoredException($"the result of task {done.task}", trouble));
        }
        else
        {
            ended.End(new Outcome.Succeeded(ended.Submission, ended.Key, done.task, done.attempts, TaskResult.Of(result)));
        }
    }

    /// <summary>The outcome of a submission that was accepted is not waited for.</summary>
    public void Forget(PendingSubmission accepted)
    {
        _ = Remove(accepted.Message.@ref);
        accepted.Forget();
    }

    /// <summary>Fails all that waits for an outcome.</summary>
    public void Fail(Exception error)
    {
        List<PendingSubmission> failed;

        lock (gate)
        {
            failed = [.. pending.Values];
            pending.Clear();
        }

        failed.ForEach(each => each.Fail(error));
    }

    /// <summary>Fails whatever is submitted from now on.</summary>
    public void End(Exception error)
    {
        lock (gate)
        {
            end ??= error;
        }
    }

    /// <summary>Ends the wait for room too.</summary>
    public void Dispose() => closing.Cancel();

    private async Task WaitForRoomAsync(CancellationToken ct)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(ct, closing.Token);

        try
        {
            await room.WaitAsync(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new ObjectDisposedException(nameof(SchedulerClient));
        }
    }

    /// <summary>Sends it if there is a connection; else it is sent with the next one. Only inside the gate.</summary>
    private void Post(PendingSubmission each)
    {
        if (wire is null)
        {
            return;
        }

        if (each.Prepared.Size > maxPayload)
        {
            pending.Remove(each.Message.@ref);
            each.End(new Outcome.Rejected(
                each.Submission,
                each.Key,
                RejectionReason.TooLarge,
                $"the payload is over the {maxPayload} bytes that the scheduler takes; its --max-payload says how many"));
        }
        else if (each.Prepared.Trouble() is { } trouble)
        {
            pending.Remove(each.Message.@ref);
            each.Fail(trouble);
        }
        else
        {
            wire.Post(Core.ToScheduler.NewSubmit(each.Message), each.Prepared.Wire);
        }
    }

    private async Task PostLaterAsync(string reference)
    {
        TimeSpan delay;

        lock (gate)
        {
            if (!pending.TryGetValue(reference, out var refused))
            {
                return;
            }

            delay = Backoff.After(++refused.Refusals);
        }

        try
        {
            await Task.Delay(delay, closing.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return;
        }

        lock (gate)
        {
            if (pending.TryGetValue(reference, out var refused))
            {
                Post(refused);
            }
        }
    }

    private PendingSubmission? Remove(string reference)
    {
        lock (gate)
        {
            return pending.Remove(reference, out var found) ? found : null;
        }
    }
}
