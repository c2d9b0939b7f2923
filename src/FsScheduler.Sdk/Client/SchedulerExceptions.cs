namespace FsScheduler.Sdk;

/// <summary>An error between a client or worker and its scheduler.</summary>
/// <param name="message">A sentence that says what happened, and what to do.</param>
/// <param name="inner">The cause, if it is an exception.</param>
public abstract class SchedulerException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>There is no scheduler, or it was away for longer than <see cref="SchedulerClientOptions.ReconnectTimeout"/>.
/// Accepted tasks go on; submit them again with the same keys to get their outcomes.</summary>
/// <param name="message">The address, and why there is no connection.</param>
/// <param name="inner">The cause, if it is an exception.</param>
public sealed class SchedulerUnavailableException(string message, Exception? inner = null)
    : SchedulerException(message, inner);

/// <summary>The scheduler refuses this client or worker: its token is missing or unknown, or it speaks another version of the
/// protocol. Another attempt would be refused too.</summary>
/// <param name="message">The reason of the scheduler, and what to do.</param>
public sealed class SchedulerRefusedException(string message) : SchedulerException(message)
{
    /// <summary>Whether the scheduler asks for a token, and the client has none.</summary>
    public bool NeedsToken { get; init; }
}

/// <summary>The scheduler refuses a question: the task is not known, for example.</summary>
/// <param name="message">The error of the scheduler.</param>
public sealed class RequestRefusedException(string message) : SchedulerException(message);

/// <summary>There is no room for a result or another answer on this machine. The scheduler may still have it.</summary>
/// <param name="what">The answer, such as <c>the result of task 7</c>.</param>
/// <param name="reason">The error of the file system.</param>
public sealed class AnswerNotStoredException(string what, string reason)
    : IOException($"{what} cannot be stored: {reason}")
{
    /// <summary>The answer, such as <c>the result of task 7</c>.</summary>
    public string What { get; } = what;

    /// <summary>The error of the file system.</summary>
    public string Reason { get; } = reason;
}

/// <summary>The scheduler rejects a submission; there is no task.</summary>
/// <param name="reason">The reason.</param>
/// <param name="message">The reason for people, with what to do.</param>
public sealed class SubmissionRejectedException(RejectionReason reason, string message) : SchedulerException(message)
{
    /// <summary>The reason.</summary>
    public RejectionReason Reason { get; } = reason;
}
