using Microsoft.FSharp.Core;

namespace FsScheduler.Sdk;

/// <summary>Which tasks <see cref="SchedulerClient.ListAsync"/> lists.</summary>
public sealed record TaskQuery
{
    /// <summary>States of tasks, by the names of <c>docs/protocol.md</c>, such as <c>quarantined</c>. (default: every state but
    /// <c>done</c> and <c>cancelled</c>)</summary>
    public IReadOnlyList<string> States { get; init; } = [];

    /// <summary>A pattern for the name of a task, or its last part: <c>*</c> stands for any characters, <c>?</c> for one.
    /// (default: any name)</summary>
    public string? Name { get; init; }

    /// <summary>The stage that a task is at, or waits for. (default: any)</summary>
    public string? Stage { get; init; }

    /// <summary>Only tasks with a higher number than this. (default: 0)</summary>
    public long After { get; init; }

    /// <summary>The most tasks in a page, 1 to 10,000. (default: 1,000)</summary>
    public int Most { get; init; } = 1_000;

    /// <exception cref="ArgumentException">There is no such state, or a number is out of range.</exception>
    internal Core.TaskQuery ToMessage()
    {
        Range.Require(After, Core.ProtocolLimits.integerMax, nameof(After));
        Range.RequirePage(Most);
        return new(After, Most, [.. States.Select(Phase)], Option(Name), Option(Stage));
    }

    private static Core.Phase Phase(string state) =>
        Protocol.PhaseName.tryParse(state)?.Value
        ?? throw new ArgumentException($"tasks have no state '{state}'", nameof(States));

    private static FSharpOption<string>? Option(string? text) => text is null ? null : FSharpOption<string>.Some(text);
}

/// <summary>Which events <see cref="SchedulerClient.GetEventsAsync"/> brings.</summary>
public sealed record EventQuery
{
    /// <summary>Only events of this task. (default: of all tasks)</summary>
    public long? TaskId { get; init; }

    /// <summary>Only events with a higher number than this. (default: 0)</summary>
    public long After { get; init; }

    /// <summary>The most events in a page, 1 to 10,000. (default: 1,000)</summary>
    public int Most { get; init; } = 1_000;

    /// <exception cref="ArgumentException">A number is out of range.</exception>
    internal Core.EventQuery ToMessage()
    {
        Range.Require(After, Core.ProtocolLimits.integerMax, nameof(After));
        Range.RequirePage(Most);
        return new(TaskId is { } taskId ? FSharpOption<long>.Some(taskId) : null, After, Most);
    }
}

/// <summary>Checks of the numbers of queries.</summary>
file static class Range
{
    public static void Require(long value, long most, string parameter)
    {
        if (value < 0 || value > most)
        {
            throw new ArgumentException($"it is from 0 to {most}, not {value}", parameter);
        }
    }

    public static void RequirePage(int most)
    {
        if (most is < 1 or > 10_000)
        {
            throw new ArgumentException($"a page has from 1 to 10,000 lines, not {most}", nameof(TaskQuery.Most));
        }
    }
}
