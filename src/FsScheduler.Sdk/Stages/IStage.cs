namespace FsScheduler.Sdk;

/// <summary>A stage of pipelines: a payload in, a result out. Each task gets an instance from a scope of dependency
/// injection of its own, which is disposed after it.</summary>
/// <remarks>A task may run more than once, so a stage must not mind being run again. What goes in and what comes out are in
/// memory; a payload over 256 MiB fails before it gets here.</remarks>
public interface IStage
{
    /// <summary>What it is called in pipelines: 1 to 50 letters, digits, <c>-</c>, <c>_</c> and <c>.</c> of ASCII, the first
    /// a letter or a digit; 6 fewer where it is run on pieces of large payloads. The same for every instance.</summary>
    string Name { get; }

    /// <summary>Processes one payload.</summary>
    /// <param name="context">The task, and its payload.</param>
    /// <param name="cancellationToken">Cancelled when nobody waits for the result any more.</param>
    /// <returns>The result. Its memory must outlive the instance.</returns>
    /// <exception cref="StageFailedException">There is no result; it says whether another attempt makes sense. After any
    /// other exception the task is tried again.</exception>
    ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken);
}
