namespace FsScheduler.Sdk;

/// <summary>Sends requests one at a time, and repeats a request if the connection is lost before its answer.</summary>
internal sealed class RequestQueue(SchedulerClientOptions options)
{
    private readonly Lock gate = new();

    /// <summary>Taken from a request until its answer, also when its caller has gone.</summary>
    private readonly SemaphoreSlim turn = new(1);
    private PendingRequest? current;
    private Protocol.ClientConnection? connection;
    private TaskCompletionSource online = NewOnline();
    private Exception? end;

    /// <summary>The number of requests without an answer, those that wait for their turn included.</summary>
    private int waiting;

    /// <summary>Why there is no connection, once the scheduler was away for too long.</summary>
    private Exception? away;

    /// <summary>Asks a question, which has an answer of its own.</summary>
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
            : new SchedulerUnavailableException("the scheduler answers with a message of another type");
    }

    /// <summary>Sends commands, which have no answer when they succeed.</summary>
    /// <returns>The errors of the commands, and the status after them.</returns>
    public async Task<(IReadOnlyList<string> Errors, Core.StatusReport Report)> CommandAsync(
        IEnumerable<Core.ToScheduler> commands, CancellationToken ct)
    {
        var answer = await SendAsync([.. commands, Core.ToScheduler.Status], ct).ConfigureAwait(false);

        return answer.Message is Core.FromScheduler.Status status
            ? (answer.Errors, status.Item)
            : throw new SchedulerUnavailableException("the scheduler answers with a message of another type");
    }

    /// <summary>Takes a new connection, over which lost requests are sent again.</summary>
    /// <returns>Whether there are requests without an answer.</returns>
    public bool Attach(Protocol.ClientConnection opened)
    {
        lock (gate)
        {
            connection = opened;
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
            connection = null;
            online.TrySetResult();
            online = NewOnline();
            lost = current;
            current = null;
        }

        lost?.Lose();
    }

    /// <summary>Takes a message, which may belong to the current request.</summary>
    /// <returns>False: there is no such request.</returns>
    public bool Take(Protocol.IncomingMessage<Core.FromScheduler> arrival)
    {
        PendingRequest? asked;

        lock (gate)
        {
            // STATUS alone causes no error: an error before its answer belongs to a submission.
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
            _ = online.Task.Exception; // an exception that no caller waits for is no defect
            online = NewOnline();
        }
    }

    /// <summary>Fails all later requests.</summary>
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
            var (used, reconnected) = Post(request);

            if (await AnswerAsync(request, used, ct).ConfigureAwait(false) is { } answer)
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

    /// <summary>Sends a request, which is lost at once without a connection.</summary>
    /// <returns>The connection, and a task that ends with the next connection, for a repetition.</returns>
    private (Protocol.ClientConnection? Connection, Task Reconnected) Post(PendingRequest request)
    {
        lock (gate)
        {
            if (connection is null || end is not null)
            {
                request.Lose();
                return (null, (end ?? away) is { } error ? Task.FromException(error) : online.Task);
            }

            current = request;

            foreach (var message in request.Messages)
            {
                connection.Post(message);
            }

            return (connection, online.Task);
        }
    }

    /// <summary>Waits for the answer; null when the connection is lost.</summary>
    private async Task<Answer?> AnswerAsync(
        PendingRequest request, Protocol.ClientConnection? used, CancellationToken ct)
    {
        try
        {
            return used is null || options.AnswerTimeout == Timeout.InfiniteTimeSpan
                ? await request.Answered.WaitAsync(ct).ConfigureAwait(false)
                : await used
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
