namespace FsScheduler.Sdk;

/// <summary>A stage with further forms, which the scheduler uses for pieces of a large payload.</summary>
internal interface IFormedStage
{
    /// <summary>The suffix of the name of each form.</summary>
    IReadOnlyList<string> Forms { get; }

    /// <summary>As <see cref="IStage.RunAsync"/>, for a form.</summary>
    /// <param name="form">One of <see cref="Forms"/>.</param>
    /// <param name="context">The task, with a piece of its payload, or with the results of all pieces.</param>
    /// <param name="cancellationToken">Cancelled when the result is not needed any more.</param>
    ValueTask<ReadOnlyMemory<byte>> RunFormAsync(string form, StageContext context, CancellationToken cancellationToken);
}
