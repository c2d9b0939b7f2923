using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk;

/// <summary>A type of stage that the worker offers.</summary>
internal sealed class StageRegistration(Type type)
{
    /// <summary>The name, and what it is followed by in other forms, from an instance in a scope of its own: what cannot
    /// be built is found out before there is a task.</summary>
    public async Task<(string Name, IReadOnlyList<string> Forms)> NamesAsync(IServiceScopeFactory scopes)
    {
        await using var scope = scopes.CreateAsyncScope();
        var stage = Stage(scope);
        return (stage.Name, stage is IFormedStage formed ? formed.Forms : []);
    }

    /// <summary>What the worker calls for each task.</summary>
    /// <param name="scopes">Where its instances come from.</param>
    /// <param name="logger">Is told of failures.</param>
    /// <param name="form">One of its forms; none: the stage itself.</param>
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
            logger.LogWarning("task {TaskId} has no result: {Reason}", context.TaskId, error.Message);
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
