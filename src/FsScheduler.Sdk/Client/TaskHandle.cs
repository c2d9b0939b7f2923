namespace FsScheduler.Sdk;

/// <summary>A task that the scheduler has accepted: it is as safe as the scheduler can make it.</summary>
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

    /// <summary>What was submitted.</summary>
    public Submission Submission { get; }

    /// <summary>With this key and the same content, another submission finds the same task.</summary>
    public string Key { get; }

    /// <summary>How the task ended. Fails with <see cref="SchedulerUnavailableException"/> when the scheduler was away for
    /// longer than <see cref="SchedulerClientOptions.ReconnectTimeout"/>, with <see cref="SchedulerRefusedException"/> when it
    /// no longer takes this client, with <see cref="IOException"/> when the result cannot be stored on this machine, and with
    /// <see cref="ObjectDisposedException"/> when the client is disposed first.</summary>
    public Task<Outcome> Completion { get; }
}
