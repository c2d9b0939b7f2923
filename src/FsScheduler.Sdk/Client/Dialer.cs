using Microsoft.FSharp.Core;

namespace FsScheduler.Sdk;

/// <summary>Opens connections to one scheduler.</summary>
/// <param name="options">The address, the token and the time limit.</param>
/// <param name="folder">The folder for results that are too large for memory.</param>
internal sealed class Dialer(SchedulerClientOptions options, string folder)
{
    /// <summary>Connects once, and waits for WELCOME.</summary>
    /// <param name="ct">Ends the wait, which takes at most <see cref="SchedulerClientOptions.ConnectTimeout"/>.</param>
    /// <exception cref="SchedulerUnavailableException">Another attempt may find a scheduler.</exception>
    /// <exception cref="SchedulerRefusedException">Another attempt would be refused too.</exception>
    public async Task<Protocol.ClientConnection> OpenAsync(CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(options.ConnectTimeout);
        var stream = await OpenStreamAsync(limit.Token, ct).ConfigureAwait(false);
        var token = options.Token is null ? null : FSharpOption<string>.Some(options.Token);
        var started = await Protocol.ClientConnection
            .StartAsync(stream, options.Name, token, folder, limit.Token)
            .ConfigureAwait(false);

        if (started.IsOk)
        {
            return started.ResultValue;
        }

        ct.ThrowIfCancellationRequested();
        throw Failure(started.ErrorValue);
    }

    private async Task<Stream> OpenStreamAsync(CancellationToken limit, CancellationToken ct)
    {
        try
        {
            return options.OpenStream is { } open
                ? await open(limit).ConfigureAwait(false)
                : await Endpoint.OpenAsync(options.Address, limit).ConfigureAwait(false);
        }
        catch (Exception error) when (!ct.IsCancellationRequested)
        {
            throw new SchedulerUnavailableException($"no scheduler at {options.Address}: {error.Message}", error);
        }
    }

    private SchedulerException Failure(Protocol.HandshakeFailure reason) =>
        reason switch
        {
            { IsUnauthorized: true } => new SchedulerRefusedException(
                options.Token is null
                    ? $"the scheduler at {options.Address} wants a client's token: set {nameof(SchedulerClientOptions.Token)}"
                    : $"the scheduler at {options.Address} does not know this client's token")
            {
                NeedsToken = options.Token is null,
            },
            Protocol.HandshakeFailure.Refused refused when refused.code.IsBadVersion => new SchedulerRefusedException(
                $"the scheduler at {options.Address} says: {refused.message}"),
            Protocol.HandshakeFailure.Refused refused => new SchedulerUnavailableException(
                $"the scheduler at {options.Address} says: {refused.message}"),
            { IsSilent: true } => new SchedulerUnavailableException(
                $"the server at {options.Address} does not answer within {options.ConnectTimeout.TotalSeconds} s: it is stopped, or is no scheduler"),
            _ => new SchedulerUnavailableException($"the server at {options.Address} is no scheduler"),
        };
}
