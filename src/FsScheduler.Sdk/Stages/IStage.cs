namespace FsScheduler.Sdk;

/// <summary>A stage of pipelines: a payload in, a result out. Each task gets an instance from a scope of dependency injection
/// of its own, which is disposed after the task.</summary>
/// <remarks>A task may run more than once, so a stage must be idempotent. Payload and result are in memory; a task whose
/// payload is over 256 MiB fails before the stage is called.</remarks>
public interface IStage
{
    /// <summary>The name in pipelines: 1 to 50 letters, digits, <c>-</c>, <c>_</c> and <c>.</c> of ASCII, the first a letter or
    /// a digit; 6 fewer for a stage that is run on pieces of large payloads. The same for every instance.</summary>
    string Name { get; }

    /// <summary>Processes a payload.</summary>
    /// <param name="context">The task, with its payload.</param>
    /// <param name="cancellationToken">Cancelled when the result is not needed any more.</param>
    /// <returns>The result. Its memory must outlive the instance.</returns>
    /// <exception cref="StageFailedException">There is no result; <see cref="StageFailedException.Retry"/> says whether another attempt makes sense. After any
    /// other exception the task is tried again.</exception>
    ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken);
}
