namespace FsScheduler.Sdk;

/// <summary>A command and the STATUS behind it, which comes after whatever was wrong with the command.</summary>
internal sealed class Question
{
    private readonly TaskCompletionSource<Answer?> answered = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>What was wrong with the command; null when it worked.</summary>
    public string? Trouble { get; set; }

    /// <summary>Null when the connection was lost before.</summary>
    public Task<Answer?> Answered => answered.Task;

    public void Complete(Core.StatusReport report) => answered.TrySetResult(new(report, Trouble));

    public void Lose() => answered.TrySetResult(null);

    /// <summary>What the scheduler said.</summary>
    /// <param name="Report">Its status, after the command.</param>
    /// <param name="Trouble">What was wrong with the command; null when it worked.</param>
    internal sealed record Answer(Core.StatusReport Report, string? Trouble);
}
