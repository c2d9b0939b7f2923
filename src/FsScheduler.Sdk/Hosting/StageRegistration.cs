using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk;

/// <summary>A type of stage that the worker offers.</summary>
internal sealed class StageRegistration(Type type)
{
    /// <summary>The name of the stage, and the suffixes of its other forms. The instance that is made for it shows before the
    /// first task that the stage can be constructed.</summary>
    public async Task<(string Name, IReadOnlyList<string> Forms)> NamesAsync(IServiceScopeFactory scopes)
    {
        await using var scope = scopes.CreateAsyncScope();
        var stage = Stage(scope);
        return (stage.Name, stage is IFormedStage formed ? formed.Forms : []);
    }

    /// <summary>The function that the worker calls for each task.</summary>
    /// <param name="scopes">Scopes for the instances.</param>
    /// <param name="logger">The log for failures.</param>
    /// <param name="form">One of the forms; null: the stage itself.</param>
    public Execution.StageFunction Function(IServiceScopeFactory scopes, ILogger logger, string? form) =>
        call => RunAsync(scopes, logger, form, call);

    private async Task<ReadOnlyMemory<byte>> RunAsync(
        IServiceScopeFactory scopes, ILogger logger, string? form, Execution.StageCall call)
    {
        var context = new StageContext
        {
            TaskId = call.attempt.task,
            Attempt = call.attempt.number,
            Name = call.name,
            Argument = call.argument,
            Payload = call.payload,
            IsBeginning = call.piece is not { IsSome: true, Value: > 0 },
        };

        using var about = logger.BeginScope("task {TaskId}, attempt {Attempt}", context.TaskId, context.Attempt);

        try
        {
            await using var scope = scopes.CreateAsyncScope();
            var stage = Stage(scope);

            return await (form is null
                ? stage.RunAsync(context, call.cancellation)
                : ((IFormedStage)stage).RunFormAsync(form, context, call.cancellation)).ConfigureAwait(false);
        }
        catch (StageFailedException error)
        {
            logger.LogWarning("task {TaskId} failed in {Stage}: {Reason}", context.TaskId, type.Name, error.Message);
            throw new Stages.StageException(error.Message, error.Retry);
        }
        catch (Exception error) when (error is not OperationCanceledException || !call.cancellation.IsCancellationRequested)
        {
            logger.LogError(error, "task {TaskId} failed in {Stage}", context.TaskId, type.Name);
            throw new Stages.StageException(
                $"{error.GetType().Name}: {error.Message}", true, Platform.Disk.passes(error));
        }
    }

    private IStage Stage(AsyncServiceScope scope) => (IStage)scope.ServiceProvider.GetRequiredService(type);
}
