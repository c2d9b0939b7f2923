namespace FsScheduler.Sdk;

/// <summary>Where a worker's scheduler is, and how it works for it. Checked when the host starts.</summary>
public sealed class FsSchedulerWorkerOptions
{
    /// <summary><c>HOST:PORT</c>. (default: <c>127.0.0.1:7070</c>)</summary>
    public string Address { get; set; } = "127.0.0.1:7070";

    /// <summary>A worker's token, where the scheduler asks for one; up to 1,000 bytes. (default: none)</summary>
    public string? Token { get; set; }

    /// <summary>What people call it, 1 to 200 bytes; two may have the same. (default: <c>MACHINE-PROCESS</c>)</summary>
    public string Name { get; set; } = $"{Environment.MachineName}-{Environment.ProcessId}";

    /// <summary>How many tasks it holds at once, from 1 to 65,536. (default: the number of processors)</summary>
    public int Slots { get; set; } = Environment.ProcessorCount;

    /// <summary>Whether it offers the built-in stages too; a pipeline of both kinds then stays with this worker. (default:
    /// yes)</summary>
    public bool OfferBuiltInStages { get; set; } = true;

    /// <summary>Folders in which it sees what its scheduler does, under the same paths: where that was started with
    /// <c>--shared-files</c>, large payloads and results in them do not travel. Nothing is read or written elsewhere. They
    /// must be there when the host starts. (default: none)</summary>
    public IList<string> SharedFolders { get; } = [];

    /// <summary>How long it may go on with what it holds when the host stops, zero to a day. Keep it below the host's
    /// <c>ShutdownTimeout</c>, which is 30 s unless set. (default: 10 s)</summary>
    public TimeSpan DrainTime { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>For how long it looks for a scheduler before it ends the host with an error. (default: for ever)</summary>
    public TimeSpan? GiveUpAfter { get; set; }

    /// <summary>Opens the connection in place of a plain TCP socket to <see cref="Address"/>: for an <c>SslStream</c> to a
    /// proxy that ends TLS in front of the scheduler, which itself speaks no TLS. Called for each reconnection too; the worker
    /// disposes the stream. (default: none)</summary>
    public Func<CancellationToken, ValueTask<Stream>>? OpenStream { get; set; }
}
