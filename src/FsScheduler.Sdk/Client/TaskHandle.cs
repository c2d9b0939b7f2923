namespace FsScheduler.Sdk;

/// <summary>A task that the scheduler has accepted, and that is durable.</summary>
public sealed class TaskHandle
{
    internal TaskHandle(Submission submission, string key, long id, Task<Outcome> completion)
    {
        Submission = submission;
        Key = key;
        Id = id;
        Completion = completion;
    }

    /// <summary>The scheduler's number for the task, from 1.</summary>
    public long Id { get; }

    /// <summary>The submission.</summary>
    public Submission Submission { get; }

    /// <summary>The key of the submission. Another submission with this key and the same content is the same task.</summary>
    public string Key { get; }

    /// <summary>The outcome of the task. Fails with <see cref="SchedulerUnavailableException"/> when the scheduler was away for
    /// longer than <see cref="SchedulerClientOptions.ReconnectTimeout"/>, with <see cref="SchedulerRefusedException"/> when it
    /// refuses this client now, with <see cref="IOException"/> when the result cannot be stored on this machine, and with
    /// <see cref="ObjectDisposedException"/> when the client is disposed first.</summary>
    public Task<Outcome> Completion { get; }
}
