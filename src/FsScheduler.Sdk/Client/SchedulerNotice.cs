namespace FsScheduler.Sdk;

/// <summary>What a client has to tell while it waits or tries again: one of the sealed cases, for a
/// <c>switch</c>.</summary>
public abstract record SchedulerNotice
{
    private protected SchedulerNotice(string message) => Message = message;

    /// <summary>A sentence for people.</summary>
    public string Message { get; }

    /// <summary>The connection is lost, or another try to connect has failed; the client tries again.</summary>
    public sealed record Away : SchedulerNotice
    {
        internal Away(string message)
            : base(message)
        {
        }
    }

    /// <summary>The scheduler is there again, and was told again what has no outcome and no answer.</summary>
    public sealed record Back : SchedulerNotice
    {
        internal Back(string message)
            : base(message)
        {
        }
    }

    /// <summary>The scheduler is too busy for a submission, which the client repeats.</summary>
    public sealed record Busy : SchedulerNotice
    {
        internal Busy(string message)
            : base(message)
        {
        }
    }

    /// <summary>The scheduler refuses a message that is no request, most likely a submission; the same again would be refused
    /// again.</summary>
    public sealed record Refused : SchedulerNotice
    {
        internal Refused(string message)
            : base(message)
        {
        }
    }
}
