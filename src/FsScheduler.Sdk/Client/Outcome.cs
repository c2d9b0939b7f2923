namespace FsScheduler.Sdk;

/// <summary>Why a submission was rejected.</summary>
public enum RejectionReason
{
    /// <summary>The pipeline is invalid, or names an unknown stage.</summary>
    BadPipeline,

    /// <summary>The name is not a relative path with <c>/</c> between its parts.</summary>
    BadName,

    /// <summary>The key was used before, with another name, pipeline or payload.</summary>
    BadKey,

    /// <summary>The payload is larger than <c>--max-payload</c> of the scheduler.</summary>
    TooLarge,
}

/// <summary>How a submission ended: one of the sealed cases, for a <c>switch</c>.</summary>
public abstract record Outcome
{
    private protected Outcome(Submission submission, string key)
    {
        Submission = submission;
        Key = key;
    }

    /// <summary>The submission.</summary>
    public Submission Submission { get; }

    /// <summary>The key of the submission: its own, or the one that the client made.</summary>
    public string Key { get; }

    /// <summary>The task is done.</summary>
    public sealed record Succeeded : Outcome
    {
        internal Succeeded(Submission submission, string key, long taskId, int attempts, TaskResult result)
            : base(submission, key)
        {
            TaskId = taskId;
            Attempts = attempts;
            Result = result;
        }

        /// <summary>The scheduler's number for the task, from 1.</summary>
        public long TaskId { get; }

        /// <summary>How often the task was given to a worker, from 0.</summary>
        public int Attempts { get; }

        /// <summary>The result; empty unless the submission asked for <see cref="Delivery.Result"/>.</summary>
        public TaskResult Result { get; }
    }

    /// <summary>The task failed for good, and is in quarantine.</summary>
    public sealed record Failed : Outcome
    {
        internal Failed(Submission submission, string key, long taskId, int attempts, string error)
            : base(submission, key)
        {
            TaskId = taskId;
            Attempts = attempts;
            Error = error;
        }

        /// <summary>The scheduler's number for the task, from 1.</summary>
        public long TaskId { get; }

        /// <summary>How often the task was given to a worker, from 0.</summary>
        public int Attempts { get; }

        /// <summary>The error of the last attempt.</summary>
        public string Error { get; }
    }

    /// <summary>The task was cancelled, by this client or another.</summary>
    public sealed record Cancelled : Outcome
    {
        internal Cancelled(Submission submission, string key, long taskId, int attempts)
            : base(submission, key)
        {
            TaskId = taskId;
            Attempts = attempts;
        }

        /// <summary>The scheduler's number for the task, from 1.</summary>
        public long TaskId { get; }

        /// <summary>How often the task was given to a worker, from 0.</summary>
        public int Attempts { get; }
    }

    /// <summary>The scheduler rejected the submission; there is no task.</summary>
    public sealed record Rejected : Outcome
    {
        internal Rejected(Submission submission, string key, RejectionReason reason, string message)
            : base(submission, key)
        {
            Reason = reason;
            Message = message;
        }

        /// <summary>The reason.</summary>
        public RejectionReason Reason { get; }

        /// <summary>The reason for people, with what to do.</summary>
        public string Message { get; }
    }
}
