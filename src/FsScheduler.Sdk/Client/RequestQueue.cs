namespace FsScheduler.Sdk;

/// <summary>Requests that have an answer, one at a time. A request is repeated when the connection is lost before its
/// answer.</summary>
internal sealed class RequestQueue(SchedulerClientOptions options)
{
    private readonly Lock gate = new();

    /// <summary>Taken from a request until its answer, also when nobody waits for that any more.</summary>
    private readonly SemaphoreSlim turn = new(1);
    private PendingRequest? current;
    private Protocol.ClientConnection? wire;
    private TaskCompletionSource online = NewOnline();
    private Exception? end;

    /// <summary>Requests that have no answer yet, also those that wait for their turn.</summary>
    private int waiting;

    /// <summary>Why there is no connection, once it has been lost for too long.</summary>
    private Exception? away;

    /// <summary>Asks something that has an answer of its own.</summary>
    /// <exception cref="RequestRefusedException">The answer is an error.</exception>
    public async Task<Answer> AskAsync(
        Core.ToScheduler question, Func<Core.FromScheduler, bool> isAnswer, CancellationToken ct)
    {
        var answer = await SendAsync([question], ct).ConfigureAwait(false);

        if (isAnswer(answer.Message))
        {
            return answer;
        }

        Protocol.SpoolFile.discard(answer.Payload);
        throw answer.Errors is [var error]
            ? new RequestRefusedException(error)
            : new SchedulerUnavailableException("the scheduler answers something else");
    }

    /// <summary>Gives commands, which have no answer when they work.</summary>
    /// <returns>What was wrong with them, and the status after them.</returns>
    public async Task<(IReadOnlyList<string> Errors, Core.StatusReport Report)> CommandAsync(
        IEnumerable<Core.ToScheduler> commands, CancellationToken ct)
    {
        var answer = await SendAsync([.. commands, Core.ToScheduler.Status], ct).ConfigureAwait(false);

        return answer.Message is Core.FromScheduler.Status status
            ? (answer.Errors, status.Item)
            : throw new SchedulerUnavailableException("the scheduler answers something else");
    }

    /// <summary>Requests that were lost are sent again over a new connection. False: there are none.</summary>
    public bool Attach(Protocol.ClientConnection connection)
    {
        lock (gate)
        {
            wire = connection;
            away = null;
            online.TrySetResult();
            return waiting > 0;
        }
    }

    public void Detach()
    {
        PendingRequest? lost;

        lock (gate)
        {
            wire = null;
            online.TrySetResult();
            online = NewOnline();
            lost = current;
            current = null;
        }

        lost?.Lose();
    }

    /// <summary>Takes a message that may belong to the request that waits.</summary>
    /// <returns>False: no request waits, so that the message is about something else.</returns>
    public bool Take(Protocol.IncomingMessage<Core.FromScheduler> arrival)
    {
        PendingRequest? asked;

        lock (gate)
        {
            // STATUS alone has no errors: one that comes before its answer is about something else.
            asked = arrival.message.IsError && current is { Messages: [{ IsStatus: true }] } ? null : current;
        }

        if (asked?.Take(arrival) == true)
        {
            lock (gate)
            {
                current = null;
            }
        }

        return asked is not null;
    }

    /// <summary>Fails all requests until there is a connection again.</summary>
    public void Fail(Exception error)
    {
        lock (gate)
        {
            away = error;
            online.TrySetException(error);
            _ = online.Task.Exception; // nobody may be waiting for it, which is no accident
            online = NewOnline();
        }
    }

    /// <summary>Fails whatever is asked from now on.</summary>
    public void End(Exception error)
    {
        lock (gate)
        {
            end ??= error;
        }
    }

    private static TaskCompletionSource NewOnline() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private async Task<Answer> SendAsync(IReadOnlyList<Core.ToScheduler> messages, CancellationToken ct)
    {
        lock (gate)
        {
            waiting++;
        }

        try
        {
            return await RepeatAsync(messages, ct).ConfigureAwait(false);
        }
        finally
        {
            lock (gate)
            {
                waiting--;
            }
        }
    }

    private async Task<Answer> RepeatAsync(IReadOnlyList<Core.ToScheduler> messages, CancellationToken ct)
    {
        while (true)
        {
            if (!await turn.WaitAsync(options.AnswerTimeout, ct).ConfigureAwait(false))
            {
                throw Unanswered();
            }

            var request = new PendingRequest(messages);
            _ = EndTurnAsync(request);
            var (connection, reconnected) = Post(request);

            if (await AnswerAsync(request, connection, ct).ConfigureAwait(false) is { } answer)
            {
                return answer;
            }

            await reconnected.WaitAsync(ct).ConfigureAwait(false);
        }
    }

    private async Task EndTurnAsync(PendingRequest request)
    {
        _ = await request.Answered.ConfigureAwait(false);
        turn.Release();
    }

    /// <summary>Sends a request, which is lost at once where there is no connection.</summary>
    /// <returns>The connection, and what ends with the one that the request may be repeated over.</returns>
    private (Protocol.ClientConnection? Connection, Task Reconnected) Post(PendingRequest request)
    {
        lock (gate)
        {
            if (wire is null || end is not null)
            {
                request.Lose();
                return (null, (end ?? away) is { } error ? Task.FromException(error) : online.Task);
            }

            current = request;

            foreach (var message in request.Messages)
            {
                wire.Post(message);
            }

            return (wire, online.Task);
        }
    }

    /// <summary>Waits for the answer; null when the connection is lost.</summary>
    private async Task<Answer?> AnswerAsync(
        PendingRequest request, Protocol.ClientConnection? connection, CancellationToken ct)
    {
        try
        {
            return connection is null || options.AnswerTimeout == Timeout.InfiniteTimeSpan
                ? await request.Answered.WaitAsync(ct).ConfigureAwait(false)
                : await connection
                    .WithinAsync((long)options.AnswerTimeout.TotalMilliseconds, request.Answered, ct)
                    .ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            request.Abandon();
            throw Unanswered();
        }
        catch (OperationCanceledException)
        {
            request.Abandon();
            throw;
        }
    }

    private SchedulerUnavailableException Unanswered() =>
        new($"the scheduler does not answer within {options.AnswerTimeout.TotalSeconds} s; its disk may be full, or it is stopped");
}
