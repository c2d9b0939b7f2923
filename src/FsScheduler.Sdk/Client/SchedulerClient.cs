using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace FsScheduler.Sdk;

/// <summary>A connection to a scheduler: submits tasks and hears how they end. It reconnects by itself; what was submitted
/// and has no outcome is then submitted again with its key, so that nothing is lost and nothing is done twice. For use by any
/// number of threads at once.</summary>
public sealed partial class SchedulerClient : IAsyncDisposable
{
    private readonly SchedulerClientOptions options;
    private readonly ReconnectingConnection connection;

    private SchedulerClient(SchedulerClientOptions options, ReconnectingConnection connection)
    {
        this.options = options;
        this.connection = connection;
    }

    /// <summary>Connects once. Later on, a lost connection is looked for again.</summary>
    /// <param name="options">Where the scheduler is. (default: on this machine)</param>
    /// <param name="cancellationToken">Ends the wait, which is <see cref="SchedulerClientOptions.ConnectTimeout"/> at the
    /// most.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="SchedulerUnavailableException">There is no scheduler.</exception>
    /// <exception cref="SchedulerRefusedException">There is one, and it will not have this client.</exception>
    public static async Task<SchedulerClient> ConnectAsync(
        SchedulerClientOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= new();
        options.Validate();
        return new(options, await ReconnectingConnection.StartAsync(options, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Submits a task, and returns once the scheduler has it as safe as it can make it. While
    /// <see cref="SchedulerClientOptions.MaxPending"/> others are without an outcome, it waits; a scheduler that is too busy is
    /// asked again.</summary>
    /// <param name="submission">What is to be done.</param>
    /// <param name="cancellationToken">Ends the wait. It does not cancel the task, which the scheduler may have by
    /// then.</param>
    /// <exception cref="ArgumentException">The submission cannot be sent as it is.</exception>
    /// <exception cref="SubmissionRejectedException">The scheduler does not take it.</exception>
    /// <exception cref="SchedulerUnavailableException">The scheduler was away for too long.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler no longer takes this client.</exception>
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

    /// <summary>Submits a task whose outcome this client does not wait for: it returns, and is forgotten here, once the
    /// scheduler has accepted it. For results that the scheduler stores, or throws away.</summary>
    /// <param name="submission">What is to be done.</param>
    /// <param name="cancellationToken">Ends the wait. It does not cancel the task, which the scheduler may have by
    /// then.</param>
    /// <returns>The scheduler's number for the task, from 1.</returns>
    /// <inheritdoc cref="SubmitAsync" path="/exception"/>
    public async Task<long> EnqueueAsync(Submission submission, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(submission);
        var pending = await connection.Submissions.AddAsync(submission, cancellationToken).ConfigureAwait(false);

        // Not before that, also where nobody waits: until then its payload may have to be sent, or sent again.
        var forgotten = pending.Accepted.ContinueWith(
            accepted =>
            {
                pending.Abandon();
                connection.Submissions.Forget(pending);
                return accepted.GetAwaiter().GetResult();
            },
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);

        return await forgotten.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Submits as many tasks as there are, without waiting for one before the next, and gives their outcomes as they
    /// happen. The source is read on only while fewer than <see cref="SchedulerClientOptions.MaxPending"/> are without an
    /// outcome or have one that was not taken. To leave the loop ends the submitting, not what was submitted.</summary>
    /// <param name="submissions">Read from another thread. What it throws, the loop throws.</param>
    /// <param name="cancellationToken">Ends submitting and waiting.</param>
    /// <returns>An outcome for each, <see cref="Outcome.Rejected"/> among them, in the order in which they
    /// happen.</returns>
    /// <exception cref="ArgumentException">A submission cannot be sent as it is.</exception>
    /// <exception cref="SchedulerUnavailableException">The scheduler was away for too long.</exception>
    /// <exception cref="SchedulerRefusedException">The scheduler no longer takes this client.</exception>
    /// <exception cref="IOException">A payload cannot be read, or a result not stored.</exception>
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
                batch.Taken();
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
