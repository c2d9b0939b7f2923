using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk;

/// <summary>The submissions without an outcome, a bounded number. All are sent again over each new connection; their keys
/// make that safe.</summary>
internal sealed class PendingSubmissions(
    SchedulerClientOptions options, ILogger? logger, Action<SchedulerNotice> notify, string folder) : IDisposable
{
    private readonly Lock gate = new();
    private readonly Dictionary<string, PendingSubmission> pending = [];
    private readonly SemaphoreSlim room = new(options.MaxPending);
    private readonly CancellationTokenSource closing = new();
    private Protocol.ClientConnection? connection;
    private Exception? end;
    private long maxPayload;

    /// <summary>The largest payload that the scheduler takes, in bytes, by the last WELCOME.</summary>
    public long MaxPayload => Volatile.Read(ref maxPayload);

    /// <summary>Waits until fewer than the most are pending, and sends a submission.</summary>
    public async Task<PendingSubmission> AddAsync(Submission submission, CancellationToken ct)
    {
        var key = submission.Key ?? Guid.NewGuid().ToString("N");
        var message = submission.ToMessage(Guid.NewGuid().ToString("N"), key);
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

    /// <summary>Sends all over a new connection.</summary>
    /// <returns>Whether there was a submission to send.</returns>
    public bool Attach(Protocol.ClientConnection opened)
    {
        lock (gate)
        {
            connection = opened;
            Volatile.Write(ref maxPayload, opened.Welcome.maxPayload);
            List<PendingSubmission> again = [.. pending.Values];
            again.ForEach(Post);
            return again.Count > 0;
        }
    }

    public void Detach()
    {
        lock (gate)
        {
            connection = null;
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
            notify(new SchedulerNotice.Busy(rejected.message));
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

    public void Done(Core.Done done, Core.Content result, string? notStored)
    {
        if (Remove(done.@ref) is not { } ended)
        {
            // A second DONE: the submission was repeated over a new connection, or the task taken out of quarantine.
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
        else if (notStored is not null)
        {
            ended.Fail(new AnswerNotStoredException($"the result of task {done.task}", notStored));
        }
        else
        {
            ended.End(new Outcome.Succeeded(ended.Submission, ended.Key, done.task, done.attempts, TaskResult.Of(result)));
        }
    }

    /// <summary>Waits until a submission is accepted, and removes it, because no caller waits for its outcome. Until it is
    /// accepted, its payload may have to be sent again: the wait has no end of its own.</summary>
    /// <returns>The scheduler's number for the task.</returns>
    public async Task<long> ForgetAcceptedAsync(PendingSubmission submission)
    {
        try
        {
            return await submission.Accepted.ConfigureAwait(false);
        }
        finally
        {
            submission.Abandon();
            _ = Remove(submission.Message.@ref);
            submission.Forget();
        }
    }

    /// <summary>Fails all pending submissions.</summary>
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

    /// <summary>Fails all later submissions.</summary>
    public void End(Exception error)
    {
        lock (gate)
        {
            end ??= error;
        }
    }

    /// <summary>Ends the waits for room.</summary>
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

    /// <summary>Sends a submission, if there is a connection: otherwise the next one sends it. Only under the lock.</summary>
    private void Post(PendingSubmission each)
    {
        if (connection is null)
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
                $"the payload has {each.Prepared.Size} bytes, and the scheduler takes at most {maxPayload}; see --max-payload of the scheduler"));
        }
        else if (each.Prepared.SourceError() is { } error)
        {
            pending.Remove(each.Message.@ref);
            each.Fail(error);
        }
        else
        {
            connection.Post(Core.ToScheduler.NewSubmit(each.Message), each.Prepared.Payload);
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
