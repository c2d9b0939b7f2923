namespace FsScheduler.Sdk;

/// <summary>A stage that workers offer in other forms too, which the scheduler takes for pieces of a large payload.</summary>
internal interface IFormedStage
{
    /// <summary>What is added to the name for each of them.</summary>
    IReadOnlyList<string> Forms { get; }

    /// <summary>What <see cref="IStage.RunAsync"/> is for the stage itself.</summary>
    /// <param name="form">One of <see cref="Forms"/>.</param>
    /// <param name="context">The task, with a piece of its payload, or with what was made of all pieces.</param>
    /// <param name="cancellationToken">Cancelled when nobody waits for the result any more.</param>
    ValueTask<ReadOnlyMemory<byte>> RunFormAsync(string form, StageContext context, CancellationToken cancellationToken);
}
