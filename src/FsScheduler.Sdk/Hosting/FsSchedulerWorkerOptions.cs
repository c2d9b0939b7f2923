namespace FsScheduler.Sdk;

/// <summary>The address of the scheduler, and the settings of a worker. Checked when the host starts.</summary>
public sealed class FsSchedulerWorkerOptions
{
    /// <summary>The address of the scheduler, <c>HOST:PORT</c>. (default: <c>127.0.0.1:7070</c>)</summary>
    public string Address { get; set; } = "127.0.0.1:7070";

    /// <summary>A token of workers, if the scheduler asks for one; up to 1,000 bytes. (default: none)</summary>
    public string? Token { get; set; }

    /// <summary>The name of the worker, 1 to 200 bytes, which need not be unique. (default: <c>MACHINE-PROCESS</c>)</summary>
    public string Name { get; set; } = $"{Environment.MachineName}-{Environment.ProcessId}";

    /// <summary>How many tasks the worker holds at once, 1 to 65,536. (default: the number of processors)</summary>
    public int Slots { get; set; } = Environment.ProcessorCount;

    /// <summary>Whether the worker offers the built-in stages too, so that it can run pipelines of both kinds alone. (default:
    /// true)</summary>
    public bool OfferBuiltInStages { get; set; } = true;

    /// <summary>Folders that worker and scheduler see under the same paths, and that exist when the host starts. Large payloads
    /// and results in these folders are not sent, if the scheduler has <c>--shared-files</c>. The worker reads and writes no
    /// other folders. (default: none)</summary>
    public IList<string> SharedFolders { get; } = [];

    /// <summary>How long the worker may go on with its tasks when the host stops, zero to a day. Keep it below the
    /// <c>ShutdownTimeout</c> of the host, which is 30 s unless set. (default: 10 s)</summary>
    public TimeSpan DrainTime { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>How long the worker tries to reach a scheduler before it ends the host with an error; zero or more. (default:
    /// for ever)</summary>
    public TimeSpan? GiveUpAfter { get; set; }

    /// <summary>Opens the connection in place of a plain TCP socket to <see cref="Address"/>: for an <c>SslStream</c> to a
    /// proxy that ends TLS in front of the scheduler, which itself speaks no TLS. Called for each reconnection too; the worker
    /// disposes the stream. (default: none)</summary>
    public Func<CancellationToken, ValueTask<Stream>>? OpenStream { get; set; }
}
