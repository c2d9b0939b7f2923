using System.Buffers;
using System.Text;

namespace FsScheduler.Sdk;

/// <summary>What a scheduler is doing, at one moment.</summary>
public sealed record SchedulerStatus
{
    private readonly Core.StatusReport report;

    internal SchedulerStatus(Core.StatusReport report)
    {
        this.report = report;
        Queued = report.queued;
        Running = report.running;
        Waiting = report.waiting;
        Split = report.split;
        Publishing = report.publishing;
        Quarantined = report.quarantined;
        Finished = report.finished;
        Cancelled = report.cancelled;
        IdleWorkers = report.idle;
        BusyWorkers = report.busy;
        Uptime = TimeSpan.FromMilliseconds(report.uptime);
        FinishedLast10Seconds = report.finished10s;
        FinishedLastMinute = report.finished60s;
        OldestQueued = TimeSpan.FromMilliseconds(report.oldest);
        Trouble = report.trouble?.Value;
        AwaitedFile = report.awaited?.Value;
        MissingStages = [.. report.missing];
        HeldBack = [.. report.heldBack];
        Workers = Array.ConvertAll(report.workers, worker => new WorkerStatus(worker));
    }

    /// <summary>Tasks that wait for a worker.</summary>
    public long Queued { get; }

    /// <summary>Tasks that workers have.</summary>
    public long Running { get; }

    /// <summary>Tasks that failed and wait for another attempt.</summary>
    public long Waiting { get; }

    /// <summary>Large tasks that are worked on in pieces; each piece is counted as a task too.</summary>
    public long Split { get; }

    /// <summary>Tasks whose results are being stored.</summary>
    public long Publishing { get; }

    /// <summary>Tasks that failed for good.</summary>
    public long Quarantined { get; }

    /// <summary>Tasks that are done.</summary>
    public long Finished { get; }

    /// <summary>Tasks that were done in the last ten seconds.</summary>
    public long FinishedLast10Seconds { get; }

    /// <summary>Tasks that were done in the last sixty seconds.</summary>
    public long FinishedLastMinute { get; }

    /// <summary>Tasks that were cancelled.</summary>
    public long Cancelled { get; }

    /// <summary>Workers that have nothing to do.</summary>
    public int IdleWorkers { get; }

    /// <summary>Workers that have something to do.</summary>
    public int BusyWorkers { get; }

    /// <summary>Since the scheduler started.</summary>
    public TimeSpan Uptime { get; }

    /// <summary>How long the task that has been queued longest has been waiting.</summary>
    public TimeSpan OldestQueued { get; }

    /// <summary>Why no new work is taken; null when it is.</summary>
    public string? Trouble { get; }

    /// <summary>The file that has been waiting for a while to be taken, since when and for what; null when there is none.</summary>
    public string? AwaitedFile { get; }

    /// <summary>Stages that tasks wait for and no worker offers, ten at most.</summary>
    public IReadOnlyList<string> MissingStages { get; }

    /// <summary>Workers that only fail some stages, and are given those now and then only, each with its last error; ten at most.</summary>
    public IReadOnlyList<string> HeldBack { get; }

    /// <summary>The first 200 workers; the two counts have them all.</summary>
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

/// <summary>A worker, as its scheduler sees it.</summary>
public sealed record WorkerStatus
{
    internal WorkerStatus(Core.WorkerReport report)
    {
        Session = report.session;
        Name = report.name;
        Slots = report.slots;
        Held = report.held;
        Finished = report.finished;
        Failed = report.failed;
    }

    /// <summary>The scheduler's number for its connection.</summary>
    public long Session { get; }

    /// <summary>What people call it; two may have the same.</summary>
    public string Name { get; }

    /// <summary>How many tasks it holds at once, at most.</summary>
    public int Slots { get; }

    /// <summary>How many it holds.</summary>
    public int Held { get; }

    /// <summary>How many it has finished.</summary>
    public long Finished { get; }

    /// <summary>How many it has failed.</summary>
    public long Failed { get; }
}
