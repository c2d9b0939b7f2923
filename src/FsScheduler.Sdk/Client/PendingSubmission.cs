namespace FsScheduler.Sdk;

/// <summary>A submission without an outcome. Keeps the payload, which is sent again after a lost connection.</summary>
internal sealed class PendingSubmission(Submission submission, string key, Core.Submit message, PreparedPayload prepared)
{
    private readonly TaskCompletionSource<long> accepted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<Outcome> ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool isAbandoned;

    public Submission Submission => submission;

    public string Key => key;

    public Core.Submit Message => message;

    public PreparedPayload Prepared => prepared;

    /// <summary>How often the scheduler was too busy for the submission.</summary>
    public int Refusals { get; set; }

    /// <summary>The number of the accepted task. Fails if there will be no task.</summary>
    public Task<long> Accepted => accepted.Task;

    public Task<Outcome> Ended => ended.Task;

    public void Accept(long task) => accepted.TrySetResult(task);

    public void End(Outcome outcome)
    {
        prepared.Dispose();

        switch (outcome)
        {
            case Outcome.Rejected rejected:
                Refuse(new SubmissionRejectedException(rejected.Reason, rejected.Message));
                break;
            case Outcome.Succeeded succeeded:
                accepted.TrySetResult(succeeded.TaskId);
                break;
            case Outcome.Failed failed:
                accepted.TrySetResult(failed.TaskId);
                break;
            case Outcome.Cancelled cancelled:
                accepted.TrySetResult(cancelled.TaskId);
                break;
        }

        ended.TrySetResult(outcome);

        if (isAbandoned)
        {
            Discard();
        }
    }

    public void Fail(Exception error)
    {
        prepared.Dispose();
        Refuse(error);
        ended.TrySetException(error);
        _ = ended.Task.Exception; // an exception that no caller waits for is no defect
    }

    /// <summary>Ends an accepted submission whose outcome no caller waits for.</summary>
    public void Forget()
    {
        prepared.Dispose();
        ended.TrySetCanceled();
    }

    /// <summary>Deletes the result, also one that is still to come: the caller has gone. The task goes on.</summary>
    public void Abandon()
    {
        isAbandoned = true;
        Discard();
    }

    private void Discard()
    {
        if (ended.Task is { IsCompletedSuccessfully: true, Result: Outcome.Succeeded succeeded })
        {
            succeeded.Result.Dispose();
        }
    }

    private void Refuse(Exception error)
    {
        accepted.TrySetException(error);
        _ = accepted.Task.Exception;
    }
}
