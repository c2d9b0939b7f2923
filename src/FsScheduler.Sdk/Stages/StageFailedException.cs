namespace FsScheduler.Sdk;

/// <summary>Thrown by a stage: the payload has no result.</summary>
/// <param name="message">What went wrong, for people. Cut after 4,096 characters.</param>
/// <param name="retry">Whether another attempt, maybe on another worker, could end better. If not, the task goes into
/// quarantine at once.</param>
/// <param name="inner">What it comes from, if anything.</param>
public sealed class StageFailedException(string message, bool retry, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether another attempt could end better.</summary>
    public bool Retry { get; } = retry;
}
