namespace FsScheduler.Sdk;

/// <summary>Thrown by a stage: the payload has no result.</summary>
/// <param name="message">The reason, for people. Cut after 4,096 characters.</param>
/// <param name="retry">Whether another attempt, maybe on another worker, could end better. If not, the task goes into
/// quarantine at once.</param>
/// <param name="inner">The cause, if it is an exception.</param>
public sealed class StageFailedException(string message, bool retry, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether another attempt could end better.</summary>
    public bool Retry { get; } = retry;
}
