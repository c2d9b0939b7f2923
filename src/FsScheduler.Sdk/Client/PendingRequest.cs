using System.Text;

namespace FsScheduler.Sdk;

/// <summary>A request that waits for its answer. Answers name no request, so one request waits at a time.</summary>
/// <param name="messages">A question, or commands and STATUS: a command that succeeds has no answer.</param>
internal sealed class PendingRequest(IReadOnlyList<Core.ToScheduler> messages)
{
    private readonly TaskCompletionSource<Answer?> answered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<string> errors = [];
    private volatile bool isAbandoned;

    public IReadOnlyList<Core.ToScheduler> Messages => messages;

    /// <summary>The answer; null: the connection was lost before.</summary>
    public Task<Answer?> Answered => answered.Task;

    private bool EndsWithStatus => messages[^1].IsStatus;

    /// <summary>Takes the answer, or the error of a command.</summary>
    /// <returns>Whether the request is complete.</returns>
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

    /// <summary>Deletes the answer, also one that is still to come: its caller has gone.</summary>
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

/// <summary>The answer to a request.</summary>
/// <param name="Message">The message of the scheduler.</param>
/// <param name="Payload">The payload of the message.</param>
/// <param name="NotStored">Why the payload could not be stored on this machine; null when it is there.</param>
/// <param name="Errors">The errors of commands of the request.</param>
internal sealed record Answer(
    Core.FromScheduler Message, Core.Content Payload, string? NotStored, IReadOnlyList<string> Errors)
{
    /// <summary>The bytes of the payload, in memory.</summary>
    /// <exception cref="AnswerNotStoredException">There was no room for the payload on this machine.</exception>
    public ReadOnlyMemory<byte> ReadBytes()
    {
        using var result = TakeResult("the answer");
        return result.ReadBytes();
    }

    /// <summary>The lines of the payload, in UTF-8.</summary>
    /// <exception cref="AnswerNotStoredException">There was no room for the payload on this machine.</exception>
    public string[] ReadLines() =>
        Encoding.UTF8.GetString(ReadBytes().Span).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The payload, for the caller to dispose.</summary>
    /// <param name="what">A name for the payload in the message of the exception.</param>
    /// <exception cref="AnswerNotStoredException">There was no room for the payload on this machine.</exception>
    public TaskResult TakeResult(string what) =>
        NotStored is null ? TaskResult.Of(Payload) : throw new AnswerNotStoredException(what, NotStored);
}
