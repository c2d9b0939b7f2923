using System.Text;

namespace FsScheduler.Sdk;

/// <content>Questions about tasks, and commands. They are put to the scheduler one at a time.</content>
public sealed partial class SchedulerClient
{
    /// <summary>The most bytes of a payload that the scheduler takes.</summary>
    public long MaxPayload => connection.Submissions.MaxPayload;

    /// <summary>How many connections this client has had, from 1. Each may be to another scheduler at the same address, with
    /// another journal.</summary>
    public int ConnectionCount => connection.Count;

    /// <summary>Asks what the scheduler is doing.</summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="SchedulerUnavailableException">The scheduler was away for too long.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler no longer takes this client.</exception>
    public async Task<SchedulerStatus> GetStatusAsync(CancellationToken cancellationToken = default) =>
        new((await connection.Requests.CommandAsync([], cancellationToken).ConfigureAwait(false)).Report);

    /// <summary>Cancels a task, whoever submitted it. Its submitter hears <see cref="Outcome.Cancelled"/>.</summary>
    /// <param name="taskId">Its number.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>False: there was nothing to cancel; the task is finished, its result is being stored, or there is none of that
    /// number.</returns>
    /// <exception cref="SchedulerUnavailableException">The scheduler was away for too long.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler no longer takes this client.</exception>
    public async Task<bool> CancelAsync(long taskId, CancellationToken cancellationToken = default) =>
        (await CancelAsync([taskId], cancellationToken).ConfigureAwait(false)).Errors.Count == 0;

    /// <summary>Cancels tasks, whoever submitted them.</summary>
    /// <param name="taskIds">Their numbers.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>An error for each task that there was nothing to cancel of.</returns>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public Task<CommandResult> CancelAsync(IEnumerable<long> taskIds, CancellationToken cancellationToken = default) =>
        CommandAsync(taskIds.Select(taskId => Core.ToScheduler.NewCancel(TaskId(taskId))), cancellationToken);

    /// <summary>Takes a task out of quarantine. Said again after a lost connection, as every command; the second time a task
    /// that is out of quarantine by then is an error.</summary>
    /// <param name="taskId">Its number.</param>
    /// <param name="pipeline">Another pipeline, for the file of the task, which becomes a new task. (default: the task's
    /// own)</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>Why the task is not tried again, if it is not.</returns>
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
    /// <param name="pipeline">Another pipeline, for files, which become new tasks. (default: each task's own)</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>An error for each task that is not tried again.</returns>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public Task<CommandResult> RetryAllAsync(string? pipeline = null, CancellationToken cancellationToken = default) =>
        CommandAsync(
            [pipeline is null ? Core.ToScheduler.RetryAll : Core.ToScheduler.NewRetryAllWith(Pipeline(pipeline))], cancellationToken);

    /// <summary>Has workers finish what they hold and go.</summary>
    /// <param name="workers">Names of workers, or their sessions as text.</param>
    /// <param name="cancellationToken">Ends the wait for the scheduler, not for the workers.</param>
    /// <returns>An error for each name that no worker has.</returns>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public Task<CommandResult> DrainAsync(IEnumerable<string> workers, CancellationToken cancellationToken = default) =>
        CommandAsync(workers.Select(worker => Core.ToScheduler.NewDrain(Worker(worker))), cancellationToken);

    /// <summary>Asks why a task is where it is.</summary>
    /// <param name="taskId">Its number.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="RequestRefusedException">The task is not known, or forgotten.</exception>
    /// <exception cref="AnswerNotStoredException">The answer finds no room on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<TaskExplanation> ExplainAsync(long taskId, CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.NewExplain(TaskId(taskId)), said => said.IsExplanation, cancellationToken)
            .ConfigureAwait(false);
        return new(answer.ReadBytes());
    }

    /// <summary>Asks which tasks there are, a page at a time and by ascending number.</summary>
    /// <param name="query">Which tasks. (default: the unfinished ones)</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="RequestRefusedException">The scheduler does not understand the query.</exception>
    /// <exception cref="AnswerNotStoredException">The answer finds no room on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<TaskPage> ListAsync(TaskQuery? query = null, CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.NewList((query ?? new()).ToWire()), said => said.IsList, cancellationToken)
            .ConfigureAwait(false);
        var list = (Core.FromScheduler.List)answer.Message;
        return new([.. answer.ReadLines().Select(line => new TaskSummary(line))], list.last, list.more);
    }

    /// <summary>Asks what happened, from the journal, a page at a time and in order.</summary>
    /// <param name="query">Which events. (default: the first ones)</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="RequestRefusedException">The task is not known, or forgotten.</exception>
    /// <exception cref="AnswerNotStoredException">The answer finds no room on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<EventPage> GetEventsAsync(EventQuery? query = null, CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.NewEvents((query ?? new()).ToWire()), said => said.IsEvents, cancellationToken)
            .ConfigureAwait(false);
        return new(answer.ReadBytes(), ((Core.FromScheduler.Events)answer.Message).last);
    }

    /// <summary>Asks which stages connected workers offer, or tasks wait for.</summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The stages, by name.</returns>
    /// <exception cref="AnswerNotStoredException">The answer finds no room on this machine.</exception>
    /// <inheritdoc cref="GetStatusAsync" path="/exception"/>
    public async Task<IReadOnlyList<StageOffer>> GetStagesAsync(CancellationToken cancellationToken = default)
    {
        var answer = await connection.Requests
            .AskAsync(Core.ToScheduler.Stages, said => said.IsStages, cancellationToken)
            .ConfigureAwait(false);
        return [.. answer.ReadLines().Select(line => new StageOffer(line))];
    }

    /// <summary>Fetches the result of a task that is done, whoever submitted it.</summary>
    /// <param name="taskId">Its number.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The result, for the caller to dispose.</returns>
    /// <exception cref="RequestRefusedException">The task is not done, or its result is gone.</exception>
    /// <exception cref="AnswerNotStoredException">The result finds no room on this machine.</exception>
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
