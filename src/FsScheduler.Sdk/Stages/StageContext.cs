namespace FsScheduler.Sdk;

/// <summary>A task, as a stage gets it.</summary>
public sealed record StageContext
{
    /// <summary>The scheduler's number for the task, from 1.</summary>
    public required long TaskId { get; init; }

    /// <summary>The number of the attempt, from 1.</summary>
    public required int Attempt { get; init; }

    /// <summary>The name of the task: a relative path with <c>/</c>, which need not exist on this machine.</summary>
    public required string Name { get; init; }

    /// <summary>The argument in <c>stage:argument</c>; empty when there is none.</summary>
    public string Argument { get; init; } = "";

    /// <summary>The payload. Valid until the stage has returned.</summary>
    public ReadOnlyMemory<byte> Payload { get; init; }

    /// <summary>Whether the payload is complete, or the first piece of a larger one: a byte order mark may be in front.</summary>
    internal bool IsBeginning { get; init; } = true;
}
