using System.Buffers;
using System.Text;

namespace FsScheduler.Sdk;

/// <summary>How many tasks of a scheduler are in which state at a moment, and its workers.</summary>
public sealed record SchedulerStatus
{
    private readonly Core.StatusReport report;

    internal SchedulerStatus(Core.StatusReport report)
    {
        this.report = report;
        Workers = Array.ConvertAll(report.workers, worker => new WorkerStatus(worker));
    }

    /// <summary>Tasks that wait for a worker.</summary>
    public long Queued => report.queued;

    /// <summary>Tasks that workers hold.</summary>
    public long Running => report.running;

    /// <summary>Tasks that failed and wait for another attempt.</summary>
    public long Waiting => report.waiting;

    /// <summary>Large tasks that are processed in pieces; each piece is counted as a task too.</summary>
    public long Split => report.split;

    /// <summary>Tasks whose results are being stored.</summary>
    public long Publishing => report.publishing;

    /// <summary>Tasks that failed for good.</summary>
    public long Quarantined => report.quarantined;

    /// <summary>Tasks that are done.</summary>
    public long Finished => report.finished;

    /// <summary>Tasks that were done in the last ten seconds.</summary>
    public long FinishedLast10Seconds => report.finished10s;

    /// <summary>Tasks that were done in the last sixty seconds.</summary>
    public long FinishedLastMinute => report.finished60s;

    /// <summary>Tasks that were cancelled.</summary>
    public long Cancelled => report.cancelled;

    /// <summary>Workers that have nothing to do.</summary>
    public int IdleWorkers => report.idle;

    /// <summary>Workers that have something to do.</summary>
    public int BusyWorkers => report.busy;

    /// <summary>The time since the scheduler started.</summary>
    public TimeSpan Uptime => TimeSpan.FromMilliseconds(report.uptime);

    /// <summary>How long the task that has been queued longest has been waiting.</summary>
    public TimeSpan OldestQueued => TimeSpan.FromMilliseconds(report.oldest);

    /// <summary>Why the scheduler takes no new work; null when it does.</summary>
    public string? Trouble => report.trouble?.Value;

    /// <summary>The file that has waited for more than ten seconds to be taken, since when and for what; null when there is
    /// none.</summary>
    public string? AwaitedFile => report.awaited?.Value;

    /// <summary>Stages that tasks wait for and no worker offers; at most ten.</summary>
    public IReadOnlyList<string> MissingStages => report.missing;

    /// <summary>Workers that only fail some stages, and get tasks for these now and then only, each with its last error; at most
    /// ten.</summary>
    public IReadOnlyList<string> HeldBack => report.heldBack;

    /// <summary>The first 200 workers; <see cref="IdleWorkers"/> and <see cref="BusyWorkers"/> count all.</summary>
    public IReadOnlyList<WorkerStatus> Workers { get; }

    /// <summary>Tasks that have not ended: neither done nor cancelled nor in quarantine.</summary>
    public long Unfinished => Queued + Running + Waiting + Split + Publishing;

    /// <summary>The report as the scheduler sent it: one line of JSON, with the names of <c>docs/protocol.md</c>.</summary>
    public string ToJson()
    {
        var output = new ArrayBufferWriter<byte>();
        Protocol.Codec.encodeFromScheduler(output, Core.FromScheduler.NewStatus(report), 0);
        return Encoding.UTF8.GetString(output.WrittenSpan).TrimEnd();
    }
}

/// <summary>A connected worker.</summary>
public sealed record WorkerStatus
{
    private readonly Core.WorkerReport report;

    internal WorkerStatus(Core.WorkerReport report) => this.report = report;

    /// <summary>The scheduler's number for the connection of the worker.</summary>
    public long Session => report.session;

    /// <summary>The name of the worker, which need not be unique.</summary>
    public string Name => report.name;

    /// <summary>The number of tasks that the worker holds at once, at most.</summary>
    public int Slots => report.slots;

    /// <summary>The number of tasks that the worker holds now.</summary>
    public int Held => report.held;

    /// <summary>The number of tasks that the worker has finished.</summary>
    public long Finished => report.finished;

    /// <summary>The number of tasks that have failed on the worker.</summary>
    public long Failed => report.failed;
}
