namespace FsScheduler.Sdk;

/// <summary>What goes wrong between a client and its scheduler.</summary>
/// <param name="message">A sentence with what to do.</param>
/// <param name="inner">What it comes from, if anything.</param>
public abstract class SchedulerException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>There is no scheduler, or it was away for longer than the client was told to wait. Tasks that it had accepted
/// go on; submit them again with the same key to learn what became of them.</summary>
/// <param name="message">Where it was looked for, and what was found there.</param>
/// <param name="inner">What it comes from, if anything.</param>
public sealed class SchedulerUnavailableException(string message, Exception? inner = null)
    : SchedulerException(message, inner);

/// <summary>The scheduler will not have this client or worker: its token is missing or unknown, or it speaks another
/// version of the protocol. Another try would end the same.</summary>
/// <param name="message">What the scheduler says, and what to do.</param>
public sealed class SchedulerRefusedException(string message) : SchedulerException(message)
{
    /// <summary>Whether the scheduler asks for a token, and was given none.</summary>
    public bool NeedsToken { get; init; }
}

/// <summary>The scheduler answers that it cannot do what it was asked: the task is not known, say, or not in quarantine.</summary>
/// <param name="message">Why, in the scheduler's words.</param>
public sealed class RequestRefusedException(string message) : SchedulerException(message);

/// <summary>A result, or another answer, finds no room on this machine. The scheduler may still have it.</summary>
/// <param name="what">What finds no room, as in <c>the result of task 7</c>.</param>
/// <param name="reason">What the file system says.</param>
public sealed class AnswerNotStoredException(string what, string reason)
    : IOException($"{what} cannot be stored: {reason}")
{
    /// <summary>What finds no room.</summary>
    public string What { get; } = what;

    /// <summary>What the file system says.</summary>
    public string Reason { get; } = reason;
}

/// <summary>The scheduler did not take a submission; there is no task.</summary>
/// <param name="reason">Why.</param>
/// <param name="message">The same for people, with what to do.</param>
public sealed class SubmissionRejectedException(RejectionReason reason, string message) : SchedulerException(message)
{
    /// <summary>Why.</summary>
    public RejectionReason Reason { get; } = reason;
}
