using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace FsScheduler.Sdk;

/// <summary>The connection of a client over all reconnections: opens it, takes what the scheduler says, and looks for the
/// scheduler again when it is lost.</summary>
internal sealed class Link : IAsyncDisposable
{
    private readonly SchedulerClientOptions options;
    private readonly ILogger logger;
    private readonly string folder = Directory.CreateTempSubdirectory("fs-client-").FullName;
    private readonly Dialer dialer;
    private readonly CancellationTokenSource closing = new();
    private Task receiving = Task.CompletedTask;
    private int failures;
    private long lostAt;

    private Link(SchedulerClientOptions options)
    {
        this.options = options;
        logger = options.Logger ?? NullLogger.Instance;
        dialer = new(options, folder);
        Submissions = new(options, logger, folder);
    }

    public Submissions Submissions { get; }

    public Inquiries Inquiries { get; } = new();

    public static async Task<Link> StartAsync(SchedulerClientOptions options, CancellationToken ct)
    {
        var link = new Link(options);

        try
        {
            var first = await link.dialer.OpenAsync(ct).ConfigureAwait(false);
            link.Attach(first);
            link.receiving = Task.Run(() => link.ReceiveAsync(first), CancellationToken.None);
            return link;
        }
        catch
        {
            await link.DisposeAsync().ConfigureAwait(false);
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

        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            logger.LogWarning("{Folder} cannot be removed: {Reason}", folder, error.Message);
        }
    }

    /// <summary>Receives over as many connections as it takes.</summary>
    private async Task ReceiveAsync(Protocol.SchedulerClient first)
    {
        var connection = first;

        while (connection is not null)
        {
            try
            {
                while (await connection.ReceiveAsync(closing.Token).ConfigureAwait(false) is { } arrival)
                {
                    Take(arrival.Value);
                }
            }
            catch (OperationCanceledException)
            {
            }

            Detach(connection);
            connection = await ReconnectAsync().ConfigureAwait(false);
        }
    }

    private async Task<Protocol.SchedulerClient?> ReconnectAsync()
    {
        while (!closing.IsCancellationRequested)
        {
            var delay = Backoff.After(++failures);
            logger.LogWarning("no scheduler at {Address}; next try in {Delay} ms", options.Address, delay.TotalMilliseconds);

            try
            {
                await Task.Delay(delay, closing.Token).ConfigureAwait(false);
                var connection = await dialer.OpenAsync(closing.Token).ConfigureAwait(false);
                Attach(connection);
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
                var away = Stopwatch.GetElapsedTime(lostAt);

                if (options.ReconnectTimeout != Timeout.InfiniteTimeSpan && away >= options.ReconnectTimeout)
                {
                    Fail(new SchedulerUnavailableException(
                        $"the scheduler was away for {away.TotalSeconds:F0} s: {error.Message}", error));
                }
            }
        }

        return null;
    }

    private void Attach(Protocol.SchedulerClient connection)
    {
        // A scheduler that closes over what it is told again is as good as away: only answers count then.
        if (!Submissions.Attach(connection))
        {
            failures = 0;
        }

        Inquiries.Attach(connection);
    }

    private void Detach(Protocol.SchedulerClient connection)
    {
        Submissions.Detach();
        Inquiries.Detach();
        ((IDisposable)connection).Dispose();

        if (failures == 0)
        {
            lostAt = Stopwatch.GetTimestamp();
        }
    }

    private void Take(Protocol.IncomingMessage<Core.FromScheduler> arrival)
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
            case Core.FromScheduler.Status status:
                Inquiries.Answer(status.Item);
                break;
            case Core.FromScheduler.Error error when !Inquiries.Object(error.message):
                logger.LogWarning("the scheduler says {Code}: {Message}", error.Item1, error.message);
                break;
        }
    }

    /// <summary>Fails all that waits.</summary>
    private void Fail(Exception error)
    {
        Submissions.Fail(error);
        Inquiries.Fail(error);
    }

    /// <summary>Fails all that comes from now on.</summary>
    private void End(Exception error)
    {
        Submissions.End(error);
        Inquiries.End(error);
    }
}
