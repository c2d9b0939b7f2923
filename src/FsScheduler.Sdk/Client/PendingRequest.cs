using System.Text;

namespace FsScheduler.Sdk;

/// <summary>Messages that wait for an answer. An answer names no request, so that one waits at a time.</summary>
/// <param name="messages">What is asked. Behind commands, which have no answer of their own, stands STATUS.</param>
internal sealed class PendingRequest(IReadOnlyList<Core.ToScheduler> messages)
{
    private readonly TaskCompletionSource<Answer?> answered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<string> errors = [];
    private volatile bool isAbandoned;

    public IReadOnlyList<Core.ToScheduler> Messages => messages;

    /// <summary>Null when the connection was lost before.</summary>
    public Task<Answer?> Answered => answered.Task;

    private bool EndsWithStatus => messages[^1].IsStatus;

    /// <summary>Takes the answer, or an error on the way to it.</summary>
    /// <returns>Whether nothing more comes.</returns>
    public bool Take(Protocol.IncomingMessage<Core.FromScheduler> arrival)
    {
        if (arrival.message is Core.FromScheduler.Error error)
        {
            errors.Add(error.message);

            if (EndsWithStatus)
            {
                return false;
            }
        }

        Complete(arrival);
        return true;
    }

    public void Lose() => answered.TrySetResult(null);

    /// <summary>Nobody waits for the answer any more; it comes all the same.</summary>
    public void Abandon()
    {
        isAbandoned = true;
        Discard();
    }

    private void Complete(Protocol.IncomingMessage<Core.FromScheduler> arrival)
    {
        answered.TrySetResult(new(arrival.message, arrival.payload, arrival.failure, errors));

        if (isAbandoned)
        {
            Discard();
        }
    }

    private void Discard()
    {
        if (answered.Task is { IsCompletedSuccessfully: true, Result: { } answer })
        {
            Protocol.SpoolFile.discard(answer.Payload);
        }
    }
}

/// <summary>What the scheduler said to a request.</summary>
/// <param name="Message">The answer.</param>
/// <param name="Payload">The bytes that came with the answer.</param>
/// <param name="Unstored">Why the payload could not be stored on this machine; null when it is there.</param>
/// <param name="Errors">What was wrong with messages of the request.</param>
internal sealed record Answer(
    Core.FromScheduler Message, Core.Payload Payload, string? Unstored, IReadOnlyList<string> Errors)
{
    /// <summary>The bytes of the payload, in memory.</summary>
    /// <exception cref="AnswerNotStoredException">There was no room for them on this machine.</exception>
    public ReadOnlyMemory<byte> ReadBytes()
    {
        using var result = TakeResult("the answer");
        return result.ReadBytes();
    }

    /// <summary>The lines of the payload, in UTF-8.</summary>
    /// <exception cref="AnswerNotStoredException">There was no room for them on this machine.</exception>
    public string[] ReadLines() =>
        Encoding.UTF8.GetString(ReadBytes().Span).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The payload, for the caller to dispose.</summary>
    /// <param name="what">What the payload is, for the message of the exception.</param>
    /// <exception cref="AnswerNotStoredException">There was no room for the payload on this machine.</exception>
    public TaskResult TakeResult(string what) =>
        Unstored is null ? TaskResult.Of(Payload) : throw new AnswerNotStoredException(what, Unstored);
}
