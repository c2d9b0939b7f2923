using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk;

/// <summary>A type of stage that the worker offers.</summary>
internal sealed class StageRegistration(Type type)
{
    /// <summary>The name, from an instance in a scope of its own: what cannot be built is found out before there is a task.</summary>
    public async Task<string> NameAsync(IServiceScopeFactory scopes)
    {
        await using var scope = scopes.CreateAsyncScope();
        return Stage(scope).Name;
    }

    /// <summary>What the worker calls for each task.</summary>
    public Runtime.StageFunction Function(IServiceScopeFactory scopes, ILogger logger) => call => RunAsync(scopes, logger, call);

    private async Task<ReadOnlyMemory<byte>> RunAsync(IServiceScopeFactory scopes, ILogger logger, Runtime.StageCall call)
    {
        var context = new StageContext
        {
            TaskId = call.attempt.task,
            Attempt = call.attempt.number,
            Name = call.name,
            Argument = call.argument,
            Payload = call.payload,
        };

        using var about = logger.BeginScope("task {TaskId}, attempt {Attempt}", context.TaskId, context.Attempt);

        try
        {
            await using var scope = scopes.CreateAsyncScope();
            return await Stage(scope).RunAsync(context, call.cancellation).ConfigureAwait(false);
        }
        catch (StageFailedException error)
        {
            logger.LogWarning("task {TaskId} has no result: {Reason}", context.TaskId, error.Message);
            throw new Runtime.Stages.StageException(error.Message, error.Retry);
        }
        catch (Exception error) when (error is not OperationCanceledException || !call.cancellation.IsCancellationRequested)
        {
            logger.LogError(error, "task {TaskId} failed in {Stage}", context.TaskId, type.Name);
            throw new Runtime.Stages.StageException($"{error.GetType().Name}: {error.Message}", true);
        }
    }

    private IStage Stage(AsyncServiceScope scope) => (IStage)scope.ServiceProvider.GetRequiredService(type);
}
