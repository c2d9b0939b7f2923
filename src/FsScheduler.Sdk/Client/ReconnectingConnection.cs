using System.Diagnostics;
using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk;

/// <summary>The connection of a client over all reconnections: connects, receives the messages of the scheduler, and
/// reconnects when the connection is lost.</summary>
internal sealed class ReconnectingConnection : IAsyncDisposable
{
    private readonly SchedulerClientOptions options;
    private readonly ILogger? logger;
    private readonly string folder;
    private readonly Dialer dialer;
    private readonly CancellationTokenSource closing = new();
    private Task receiving = Task.CompletedTask;
    private int failures;
    private int count;
    private long lostAt;

    /// <summary>Why there is no connection, as far as that is known.</summary>
    private string away = "";
    private Exception? awayError;

    private ReconnectingConnection(SchedulerClientOptions options)
    {
        this.options = options;
        logger = options.Logger;
        folder = options.TemporaryFolder ?? Directory.CreateTempSubdirectory("fs-client-").FullName;
        dialer = new(options, folder);
        Submissions = new(options, logger, Notify, folder);
        Requests = new(options);
    }

    public PendingSubmissions Submissions { get; }

    public RequestQueue Requests { get; }

    /// <summary>The number of connections so far.</summary>
    public int Count => Volatile.Read(ref count);

    public static async Task<ReconnectingConnection> StartAsync(SchedulerClientOptions options, CancellationToken ct)
    {
        var connection = new ReconnectingConnection(options);

        try
        {
            var first = await connection.dialer.OpenAsync(ct).ConfigureAwait(false);
            connection.Attach(first);
            connection.receiving = Task.Run(() => connection.ReceiveAsync(first), CancellationToken.None);
            return connection;
        }
        catch
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        var disposed = new ObjectDisposedException(nameof(SchedulerClient));
        End(disposed);
        await closing.CancelAsync().ConfigureAwait(false);
        Submissions.Dispose();
        await receiving.ConfigureAwait(false);
        Fail(disposed);

        if (options.TemporaryFolder is null)
        {
            DeleteFolder();
        }
    }

    private void DeleteFolder()
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            logger?.LogWarning("the folder {Folder} for temporary files cannot be removed: {Reason}", folder, error.Message);
        }
    }

    /// <summary>Receives over one connection after the other.</summary>
    private async Task ReceiveAsync(Protocol.ClientConnection first)
    {
        var connection = first;

        while (connection is not null)
        {
            (away, awayError) = ("the scheduler has closed the connection", null);

            try
            {
                while (await connection.ReceiveAsync(closing.Token).ConfigureAwait(false) is { } arrival)
                {
                    Dispatch(arrival.Value);
                }
            }
            catch (OperationCanceledException)
            {
            }

            Detach(connection);
            connection = await ReconnectAsync().ConfigureAwait(false);
        }
    }

    private async Task<Protocol.ClientConnection?> ReconnectAsync()
    {
        while (!closing.IsCancellationRequested)
        {
            FailIfAwayForTooLong();
            Notify(new SchedulerNotice.Away(away));
            var delay = Backoff.After(++failures);
            logger?.LogWarning(
                "no connection to the scheduler at {Address}: {Reason}; next attempt in {Delay} ms",
                options.Address,
                away,
                delay.TotalMilliseconds);

            try
            {
                await Task.Delay(delay, closing.Token).ConfigureAwait(false);
                var connection = await dialer.OpenAsync(closing.Token).ConfigureAwait(false);
                Attach(connection);
                Notify(new SchedulerNotice.Back($"the scheduler at {options.Address} is back"));
                return connection;
            }
            catch (OperationCanceledException)
            {
            }
            catch (SchedulerRefusedException error)
            {
                End(error);
                Fail(error);
                return null;
            }
            catch (SchedulerUnavailableException error)
            {
                (away, awayError) = (error.Message, error);
            }
        }

        return null;
    }

    /// <summary>A scheduler that accepts each connection, and closes it before an answer, counts as away too.</summary>
    private void FailIfAwayForTooLong()
    {
        var since = Stopwatch.GetElapsedTime(lostAt);

        if (options.ReconnectTimeout != Timeout.InfiniteTimeSpan && since >= options.ReconnectTimeout)
        {
            Fail(new SchedulerUnavailableException(
                options.ReconnectTimeout == TimeSpan.Zero ? away : $"the scheduler was away for {since.TotalSeconds:F0} s: {away}",
                awayError));
        }
    }

    /// <summary>Called on the receiving thread only: one notice at a time.</summary>
    private void Notify(SchedulerNotice notice)
    {
        if (!closing.IsCancellationRequested)
        {
            options.OnNotice?.Invoke(notice);
        }
    }

    private void Attach(Protocol.ClientConnection connection)
    {
        Interlocked.Increment(ref count);

        var isRepeating = Submissions.Attach(connection) | Requests.Attach(connection);

        // A scheduler that closes the connection over a repeated message is as good as away: only an answer ends that.
        if (!isRepeating)
        {
            failures = 0;
        }
    }

    private void Detach(Protocol.ClientConnection connection)
    {
        Submissions.Detach();
        Requests.Detach();
        ((IDisposable)connection).Dispose();

        if (failures == 0)
        {
            lostAt = Stopwatch.GetTimestamp();
        }
    }

    private void Dispatch(Protocol.IncomingMessage<Core.FromScheduler> arrival)
    {
        if (arrival.message is not Core.FromScheduler.Error)
        {
            failures = 0;
        }

        switch (arrival.message)
        {
            case Core.FromScheduler.Accepted accepted:
                Submissions.Accepted(accepted.@ref, accepted.Item2);
                break;
            case Core.FromScheduler.Done done:
                Submissions.Done(done.Item, arrival.payload, arrival.failure);
                break;
            case Core.FromScheduler.Rejected rejected:
                Submissions.Rejected(rejected);
                break;
            case Core.FromScheduler.Error error when !Requests.Take(arrival):
                logger?.LogWarning("the scheduler refuses a message, {Code}: {Message}", error.Item1, error.message);
                away = $"the scheduler says: {error.message}";
                Notify(new SchedulerNotice.Refused(error.message));
                break;
            case Core.FromScheduler.Error error:
                if (!error.Item1.IsBadField && !error.Item1.IsUnknownType)
                {
                    away = $"the scheduler says: {error.message}"; // and closes the connection
                }

                break;
            case { IsWelcome: true } or { IsBeat: true }:
                break;
            default:
                if (!Requests.Take(arrival))
                {
                    Protocol.SpoolFile.discard(arrival.payload);
                }

                break;
        }
    }

    /// <summary>Fails all pending submissions and requests.</summary>
    private void Fail(Exception error)
    {
        Submissions.Fail(error);
        Requests.Fail(error);
    }

    /// <summary>Fails all later submissions and requests.</summary>
    private void End(Exception error)
    {
        Submissions.End(error);
        Requests.End(error);
    }
}
