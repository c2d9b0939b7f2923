using System.Text;
using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk;

/// <summary>Where a scheduler is, and how a client behaves towards it.</summary>
public sealed record SchedulerClientOptions
{
    /// <summary><c>HOST:PORT</c>. (default: <c>127.0.0.1:7070</c>)</summary>
    public string Address { get; init; } = "127.0.0.1:7070";

    /// <summary>A client's token, where the scheduler asks for one; up to 1,000 bytes. (default: none)</summary>
    public string? Token { get; init; }

    /// <summary>What the client is called in logs, up to 200 bytes. (default: <c>MACHINE-PROCESS</c>)</summary>
    public string Name { get; init; } = $"{Environment.MachineName}-{Environment.ProcessId}";

    /// <summary>Opens the connection in place of a plain TCP socket to <see cref="Address"/>: for an <c>SslStream</c> to a
    /// proxy that ends TLS in front of the scheduler, which itself speaks no TLS. Called for each reconnection too; the client
    /// disposes the stream. (default: none)</summary>
    public Func<CancellationToken, ValueTask<Stream>>? OpenStream { get; init; }

    /// <summary>How long one attempt to connect may take, until the scheduler's welcome. (default: 10 s)</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a scheduler may be away before what waits for it fails. <see cref="TimeSpan.Zero"/>: what waits fails
    /// as soon as the connection is lost; <see cref="Timeout.InfiniteTimeSpan"/>: never. The client looks for the scheduler
    /// all the while, and after. (default: 5 min)</summary>
    public TimeSpan ReconnectTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long the scheduler may take to begin an answer to a request, and may pause within the answer, before the
    /// request fails with <see cref="SchedulerUnavailableException"/>; outcomes of submissions are no such answers. (default:
    /// <see cref="Timeout.InfiniteTimeSpan"/>, until the connection counts as lost)</summary>
    public TimeSpan AnswerTimeout { get; init; } = Timeout.InfiniteTimeSpan;

    /// <summary>A folder for results over 1 MiB and payloads from streams, as files <c>.fss-*</c> that go with what they belong
    /// to. (default: a new folder for temporary files, which goes with the client)</summary>
    public string? TemporaryFolder { get; init; }

    /// <summary>How many submissions may be without an outcome, from 1 to 1,000,000; further ones wait. (default:
    /// 1,000)</summary>
    public int MaxPending { get; init; } = 1_000;

    /// <summary>Hears of lost connections. (default: nobody)</summary>
    public ILogger? Logger { get; init; }

    /// <summary>Called when the connection is lost or back, while the scheduler is too busy, and when it refuses a submission, from one thread at a time.
    /// The connection waits for the call: return at once, and do not throw. (default: nothing)</summary>
    public Action<SchedulerNotice>? OnNotice { get; init; }

    /// <exception cref="ArgumentException">Something is out of range.</exception>
    internal void Validate()
    {
        if (Endpoint.Problem(Address) is { } problem)
        {
            throw new ArgumentException(problem, nameof(Address));
        }

        if (Token is not null && Encoding.UTF8.GetByteCount(Token) > Core.ProtocolLimits.tokenBytesMax)
        {
            throw new ArgumentException($"a token has at most {Core.ProtocolLimits.tokenBytesMax} bytes", nameof(Token));
        }

        if (Encoding.UTF8.GetByteCount(Name) > Core.ProtocolLimits.peerNameBytesMax)
        {
            throw new ArgumentException($"a name has at most {Core.ProtocolLimits.peerNameBytesMax} bytes", nameof(Name));
        }

        if (ConnectTimeout <= TimeSpan.Zero || ConnectTimeout > TimeSpan.FromDays(1))
        {
            throw new ArgumentException("it is more than zero, and a day at the most", nameof(ConnectTimeout));
        }

        if (ReconnectTimeout < TimeSpan.Zero && ReconnectTimeout != Timeout.InfiniteTimeSpan)
        {
            throw new ArgumentException("it is zero or more, or Timeout.InfiniteTimeSpan", nameof(ReconnectTimeout));
        }

        if (AnswerTimeout != Timeout.InfiniteTimeSpan && (AnswerTimeout <= TimeSpan.Zero || AnswerTimeout > TimeSpan.FromDays(1)))
        {
            throw new ArgumentException(
                "it is more than zero, and a day at the most, or Timeout.InfiniteTimeSpan", nameof(AnswerTimeout));
        }

        if (MaxPending is < 1 or > 1_000_000)
        {
            throw new ArgumentException($"it is from 1 to 1,000,000, not {MaxPending}", nameof(MaxPending));
        }
    }
}
