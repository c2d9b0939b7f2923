using System.Text;

namespace FsScheduler.Sdk;

/// <content>Questions about tasks, and commands, which are sent one at a time.</content>
public sealed partial class SchedulerClient
{
    /// <summary>The largest payload that the scheduler takes, in bytes.</summary>
    public long MaxPayload => connection.Submissions.MaxPayload;

    /// <summary>The number of connections that this client has had, from 1. Each may be to another scheduler at the same
    /// address, with another journal.</summary>
    public int ConnectionCount => connection.Count;

    /// <summary>Asks how many tasks are in which state, and for the workers.</summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="SchedulerUnavailableException">The scheduler was away for too long.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler refuses this client now.</exception>
    public async Task<SchedulerStatus> GetStatusAsync(CancellationToken cancellationToken = default) =>
        new((await connection.Requests.CommandAsync([], cancellationToken).ConfigureAwait(false)).Report);

    /// <summary>Cancels a task of any client. Its submitter gets <see cref="Outcome.Cancelled"/>.</summary>
    /// <param name="taskId">The number of the task.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>False: the task is not cancelled; it is finished, its result is being stored, or there is no such
    /// task.</returns>
    /// <exception cref="SchedulerUnavailableException">The scheduler was away for too long.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler refuses this client now.</exception>
    public async Task<bool> CancelAsync(long taskId, CancellationToken cancellationToken = default) =>
        (await CancelAsync([taskId], cancellationToken).ConfigureAwait(false)).Errors.Count == 0;

    /// <summary>Cancels tasks of any client.</summary>
    /// <param name="taskIds">The numbers of the tasks.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>An error for each task that is not cancelled.</returns>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public Task<CommandResult> CancelAsync(IEnumerable<long> taskIds, CancellationToken cancellationToken = default) =>
        CommandAsync(taskIds.Select(taskId => Core.ToScheduler.NewCancel(TaskId(taskId))), cancellationToken);

    /// <summary>Takes a task out of quarantine. Like every command, it is repeated after a lost connection; the repetition is
    /// an error if the task has left the quarantine.</summary>
    /// <param name="taskId">The number of the task.</param>
    /// <param name="pipeline">Another pipeline, with which the file of the task becomes a new task. (default: the task's
    /// own)</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>An error if the task is not tried again.</returns>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public Task<CommandResult> RetryAsync(
        long taskId, string? pipeline = null, CancellationToken cancellationToken = default) =>
        CommandAsync(
            [
                pipeline is null
                    ? Core.ToScheduler.NewRetry(TaskId(taskId))
                    : Core.ToScheduler.NewRetryWith(TaskId(taskId), Pipeline(pipeline)),
            ],
            cancellationToken);

    /// <summary>Takes every task out of quarantine.</summary>
    /// <param name="pipeline">Another pipeline, with which files become new tasks. (default: each task's own)</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>An error for each task that is not tried again.</returns>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public Task<CommandResult> RetryAllAsync(string? pipeline = null, CancellationToken cancellationToken = default) =>
        CommandAsync(
            [pipeline is null ? Core.ToScheduler.RetryAll : Core.ToScheduler.NewRetryAllWith(Pipeline(pipeline))], cancellationToken);

    /// <summary>Asks workers to finish the tasks that they hold, and to leave.</summary>
    /// <param name="workers">The names of workers, or their sessions as text.</param>
    /// <param name="cancellationToken">Ends the wait for the scheduler, not for the workers.</param>
    /// <returns>An error for each name that no worker has.</returns>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public Task<CommandResult> DrainAsync(IEnumerable<string> workers, CancellationToken cancellationToken = default) =>
        CommandAsync(workers.Select(worker => Core.ToScheduler.NewDrain(Worker(worker))), cancellationToken);

    /// <summary>Asks why a task is where it is.</summary>
    /// <param name="taskId">The number of the task.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="RequestRefusedException">The task is not known, or forgotten.</exception>
    /// <exception cref="AnswerNotStoredException">There is no room for the answer on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<TaskExplanation> ExplainAsync(long taskId, CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.NewExplain(TaskId(taskId)), said => said.IsExplanation, cancellationToken)
            .ConfigureAwait(false);
        return new(answer.ReadBytes());
    }

    /// <summary>Lists tasks, a page at a time and by ascending number.</summary>
    /// <param name="query">Which tasks. (default: the unfinished ones)</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="RequestRefusedException">The scheduler does not understand the query.</exception>
    /// <exception cref="AnswerNotStoredException">There is no room for the answer on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<TaskPage> ListAsync(TaskQuery? query = null, CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.NewList((query ?? new()).ToMessage()), said => said.IsList, cancellationToken)
            .ConfigureAwait(false);
        var list = (Core.FromScheduler.List)answer.Message;
        return new([.. answer.ReadLines().Select(line => new TaskSummary(line))], list.last, list.more);
    }

    /// <summary>Reads events of the journal, a page at a time and in order.</summary>
    /// <param name="query">Which events. (default: the first ones)</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="RequestRefusedException">The task is not known, or forgotten.</exception>
    /// <exception cref="AnswerNotStoredException">There is no room for the answer on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<EventPage> GetEventsAsync(EventQuery? query = null, CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.NewEvents((query ?? new()).ToMessage()), said => said.IsEvents, cancellationToken)
            .ConfigureAwait(false);
        return new(answer.ReadBytes(), ((Core.FromScheduler.Events)answer.Message).last);
    }

    /// <summary>Lists the stages that connected workers offer, or that tasks wait for.</summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The stages, by name.</returns>
    /// <exception cref="AnswerNotStoredException">There is no room for the answer on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<IReadOnlyList<StageOffer>> GetStagesAsync(CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.Stages, said => said.IsStages, cancellationToken)
            .ConfigureAwait(false);
        return [.. answer.ReadLines().Select(line => new StageOffer(line))];
    }

    /// <summary>Fetches the result of a finished task of any client.</summary>
    /// <param name="taskId">The number of the task.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The result, for the caller to dispose.</returns>
    /// <exception cref="RequestRefusedException">The task is not done, or its result is gone.</exception>
    /// <exception cref="AnswerNotStoredException">There is no room for the result on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<TaskResult> FetchAsync(long taskId, CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.NewFetch(TaskId(taskId)), said => said.IsFetch, cancellationToken)
            .ConfigureAwait(false);
        return answer.TakeResult($"the result of task {taskId}");
    }

    private async Task<CommandResult> CommandAsync(IEnumerable<Core.ToScheduler> commands, CancellationToken ct)
    {
        var (errors, report) = await connection.Requests.CommandAsync(commands, ct).ConfigureAwait(false);
        return new(errors, report.trouble?.Value);
    }

    private static string Pipeline(string pipeline) =>
        Bounded(pipeline, Core.ProtocolLimits.pipelineBytesMax, nameof(pipeline));

    private static string Worker(string worker) => Bounded(worker, Core.ProtocolLimits.peerNameBytesMax, "workers");

    private static string Bounded(string text, int bytesMax, string parameter) =>
        Encoding.UTF8.GetByteCount(text) <= bytesMax
            ? text
            : throw new ArgumentException($"it has at most {bytesMax} bytes", parameter);

    private static long TaskId(long taskId)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(taskId, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(taskId, Core.ProtocolLimits.integerMax);
        return taskId;
    }
}
