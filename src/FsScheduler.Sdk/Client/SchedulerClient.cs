using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace FsScheduler.Sdk;

/// <summary>A client of a scheduler, which submits tasks and receives their outcomes. A lost connection is replaced;
/// submissions without an outcome are then submitted again with their keys, so that nothing is lost and nothing is run twice.
/// For any number of threads at once.</summary>
public sealed partial class SchedulerClient : IAsyncDisposable
{
    private readonly SchedulerClientOptions options;
    private readonly ReconnectingConnection connection;

    private SchedulerClient(SchedulerClientOptions options, ReconnectingConnection connection)
    {
        this.options = options;
        this.connection = connection;
    }

    /// <summary>Connects, in one attempt. Only a connection that is lost later is replaced.</summary>
    /// <param name="options">The address of the scheduler, and settings. (default: port 7070 of this machine)</param>
    /// <param name="cancellationToken">Ends the wait, which takes at most
    /// <see cref="SchedulerClientOptions.ConnectTimeout"/>.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="SchedulerUnavailableException">There is no scheduler.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler refuses this client.</exception>
    public static async Task<SchedulerClient> ConnectAsync(
        SchedulerClientOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= new();
        options.Validate();
        return new(options, await ReconnectingConnection.StartAsync(options, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Submits a task, and returns once the scheduler has accepted the task, which is durable then. Waits while
    /// <see cref="SchedulerClientOptions.MaxPending"/> other submissions are without an outcome, and while the scheduler is
    /// too busy.</summary>
    /// <param name="submission">The task.</param>
    /// <param name="cancellationToken">Ends the wait, and does not cancel the task, which may be accepted by then.</param>
    /// <exception cref="ArgumentException">A value of the submission is out of range.</exception>
    /// <exception cref="SubmissionRejectedException">The scheduler rejects the submission.</exception>
    /// <exception cref="SchedulerUnavailableException">The scheduler was away for too long.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler refuses this client now.</exception>
    /// <exception cref="IOException">The payload cannot be read.</exception>
    public async Task<TaskHandle> SubmitAsync(Submission submission, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(submission);
        var pending = await connection.Submissions.AddAsync(submission, cancellationToken).ConfigureAwait(false);

        try
        {
            var id = await pending.Accepted.WaitAsync(cancellationToken).ConfigureAwait(false);
            return new(submission, pending.Key, id, pending.Ended);
        }
        catch (OperationCanceledException)
        {
            pending.Abandon();
            throw;
        }
    }

    /// <summary>Submits a task without waiting for its outcome: returns once the scheduler has accepted the task. For results
    /// that the scheduler stores, or discards.</summary>
    /// <param name="submission">The task.</param>
    /// <param name="cancellationToken">Ends the wait, and does not cancel the task, which may be accepted by then.</param>
    /// <returns>The scheduler's number for the task, from 1.</returns>
    /// <inheritdoc cref="SubmitAsync" path="/exception"/>
    public async Task<long> EnqueueAsync(Submission submission, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(submission);
        var pending = await connection.Submissions.AddAsync(submission, cancellationToken).ConfigureAwait(false);

        return await connection.Submissions.ForgetAcceptedAsync(pending).WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Submits any number of tasks at once, and gives each outcome as it happens. Reads further submissions only
    /// while fewer than <see cref="SchedulerClientOptions.MaxPending"/> are without an outcome, or have an outcome that was
    /// not read. Leaving the loop ends the submitting; submitted tasks go on.</summary>
    /// <param name="submissions">The tasks, read from another thread. The loop throws its exceptions.</param>
    /// <param name="cancellationToken">Ends submitting and waiting.</param>
    /// <returns>The outcome of each submission, <see cref="Outcome.Rejected"/> among them, in the order in which they
    /// happen.</returns>
    /// <exception cref="ArgumentException">A value of a submission is out of range.</exception>
    /// <exception cref="SchedulerUnavailableException">The scheduler was away for too long.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler refuses this client now.</exception>
    /// <exception cref="IOException">A payload cannot be read, or a result cannot be stored.</exception>
    public async IAsyncEnumerable<Outcome> SubmitManyAsync(
        IAsyncEnumerable<Submission> submissions,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(submissions);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var batch = new Batch(connection.Submissions, options.MaxPending);
        var sending = Task.Run(() => batch.SendAsync(submissions, stop.Token), CancellationToken.None);

        try
        {
            await foreach (var outcome in batch.Outcomes.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                batch.OutcomeRead();
                yield return outcome;
            }
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await sending.ConfigureAwait(false);
            batch.Abandon();
        }
    }

    /// <summary>Closes the connection. Tasks that were submitted go on; temporary files of results are deleted.</summary>
    public ValueTask DisposeAsync() => connection.DisposeAsync();
}
