using System.Text;
using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk;

/// <summary>The address of a scheduler, and the settings of a client.</summary>
public sealed record SchedulerClientOptions
{
    /// <summary>The address of the scheduler, <c>HOST:PORT</c>. (default: <c>127.0.0.1:7070</c>)</summary>
    public string Address { get; init; } = "127.0.0.1:7070";

    /// <summary>A token of clients, if the scheduler asks for one; up to 1,000 bytes. (default: none)</summary>
    public string? Token { get; init; }

    /// <summary>The name of the client in logs, up to 200 bytes. (default: <c>MACHINE-PROCESS</c>)</summary>
    public string Name { get; init; } = $"{Environment.MachineName}-{Environment.ProcessId}";

    /// <summary>Opens the connection in place of a plain TCP socket to <see cref="Address"/>: for an <c>SslStream</c> to a
    /// proxy that ends TLS in front of the scheduler, which itself speaks no TLS. Called for each reconnection too; the client
    /// disposes the stream. (default: none)</summary>
    public Func<CancellationToken, ValueTask<Stream>>? OpenStream { get; init; }

    /// <summary>How long an attempt to connect may take, WELCOME included; up to a day. (default: 10 s)</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a scheduler may be away before pending calls fail. <see cref="TimeSpan.Zero"/>: they fail as soon as
    /// the connection is lost; <see cref="Timeout.InfiniteTimeSpan"/>: never. The client tries to reconnect during that time
    /// and afterwards. (default: 5 min)</summary>
    public TimeSpan ReconnectTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long the scheduler may take to begin the answer to a question or command, and may pause within the answer,
    /// before the call fails with <see cref="SchedulerUnavailableException"/>; up to a day. Outcomes of submissions have no
    /// such limit. (default: <see cref="Timeout.InfiniteTimeSpan"/>, until the connection counts as lost)</summary>
    public TimeSpan AnswerTimeout { get; init; } = Timeout.InfiniteTimeSpan;

    /// <summary>The folder for results over 1 MiB and for payloads from streams: files <c>.fss-*</c>, which are deleted with the
    /// result or submission. (default: a new folder for temporary files, which is deleted with the client)</summary>
    public string? TemporaryFolder { get; init; }

    /// <summary>How many submissions may be without an outcome, 1 to 1,000,000; further submissions wait. (default:
    /// 1,000)</summary>
    public int MaxPending { get; init; } = 1_000;

    /// <summary>The log for lost connections, refusals and a busy scheduler. (default: none)</summary>
    public ILogger? Logger { get; init; }

    /// <summary>Called when the connection is lost or back, when the scheduler is too busy, and when it refuses a submission;
    /// from one thread at a time. The connection waits for the call: return at once, and do not throw. (default:
    /// none)</summary>
    public Action<SchedulerNotice>? OnNotice { get; init; }

    /// <exception cref="ArgumentException">A value is out of range.</exception>
    internal void Validate()
    {
        if (Endpoint.ErrorOf(Address) is { } error)
        {
            throw new ArgumentException(error, nameof(Address));
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
            throw new ArgumentException($"it is more than zero and at most a day, not {ConnectTimeout}", nameof(ConnectTimeout));
        }

        if (ReconnectTimeout < TimeSpan.Zero && ReconnectTimeout != Timeout.InfiniteTimeSpan)
        {
            throw new ArgumentException(
                $"it is zero or more, or Timeout.InfiniteTimeSpan, not {ReconnectTimeout}", nameof(ReconnectTimeout));
        }

        if (AnswerTimeout != Timeout.InfiniteTimeSpan && (AnswerTimeout <= TimeSpan.Zero || AnswerTimeout > TimeSpan.FromDays(1)))
        {
            throw new ArgumentException(
                $"it is more than zero and at most a day, or Timeout.InfiniteTimeSpan, not {AnswerTimeout}", nameof(AnswerTimeout));
        }

        if (MaxPending is < 1 or > 1_000_000)
        {
            throw new ArgumentException($"it is from 1 to 1,000,000, not {MaxPending}", nameof(MaxPending));
        }
    }
}
