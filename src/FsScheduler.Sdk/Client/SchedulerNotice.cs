namespace FsScheduler.Sdk;

/// <summary>A notice of a client that waits or tries again: one of the sealed cases, for a <c>switch</c>.</summary>
public abstract record SchedulerNotice
{
    private protected SchedulerNotice(string message) => Message = message;

    /// <summary>A sentence for people.</summary>
    public string Message { get; }

    /// <summary>The connection is lost, or another attempt to connect has failed; the client tries again.</summary>
    public sealed record Away : SchedulerNotice
    {
        internal Away(string message)
            : base(message)
        {
        }
    }

    /// <summary>The client is connected again, and has repeated the pending submissions and requests.</summary>
    public sealed record Back : SchedulerNotice
    {
        internal Back(string message)
            : base(message)
        {
        }
    }

    /// <summary>The scheduler is too busy for a submission, which the client will repeat.</summary>
    public sealed record Busy : SchedulerNotice
    {
        internal Busy(string message)
            : base(message)
        {
        }
    }

    /// <summary>The scheduler refuses a message, most likely a submission; a repetition would be refused too.</summary>
    public sealed record Refused : SchedulerNotice
    {
        internal Refused(string message)
            : base(message)
        {
        }
    }
}
