using Microsoft.FSharp.Core;

namespace FsScheduler.Sdk;

/// <summary>Opens connections to one scheduler.</summary>
/// <param name="options">Where it is.</param>
/// <param name="folder">For results that are too large for memory.</param>
internal sealed class Dialer(SchedulerClientOptions options, string folder)
{
    /// <summary>Connects once, up to the scheduler's welcome.</summary>
    /// <param name="ct">Ends the wait, which is <see cref="SchedulerClientOptions.ConnectTimeout"/> at the most.</param>
    /// <exception cref="SchedulerUnavailableException">Another try may find a scheduler.</exception>
    /// <exception cref="SchedulerRefusedException">Another try would end the same.</exception>
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
        throw WhyNot(started.ErrorValue);
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

    private SchedulerException WhyNot(Protocol.Unwelcome reason) =>
        reason switch
        {
            { IsUnauthorized: true } => new SchedulerRefusedException(
                options.Token is null
                    ? $"the scheduler at {options.Address} wants a client's token: set {nameof(SchedulerClientOptions.Token)}"
                    : $"the scheduler at {options.Address} does not know this client's token")
            {
                NeedsToken = options.Token is null,
            },
            Protocol.Unwelcome.Refused refused when refused.code.IsBadVersion => new SchedulerRefusedException(
                $"the scheduler at {options.Address} says: {refused.message}"),
            Protocol.Unwelcome.Refused refused => new SchedulerUnavailableException(
                $"the scheduler at {options.Address} says: {refused.message}"),
            { IsSilent: true } => new SchedulerUnavailableException(
                $"what is at {options.Address} does not answer within {options.ConnectTimeout.TotalSeconds} s: it is stopped, or no scheduler"),
            _ => new SchedulerUnavailableException($"what is at {options.Address} is no scheduler"),
        };
}
