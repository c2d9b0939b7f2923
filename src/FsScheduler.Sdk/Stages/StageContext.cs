namespace FsScheduler.Sdk;

/// <summary>A task, as a stage gets it.</summary>
public sealed record StageContext
{
    /// <summary>The scheduler's number for the task, from 1.</summary>
    public required long TaskId { get; init; }

    /// <summary>Which attempt at the task this is, from 1.</summary>
    public required int Attempt { get; init; }

    /// <summary>What the task is called: a relative path with <c>/</c>, not one of this machine.</summary>
    public required string Name { get; init; }

    /// <summary>What follows the colon in <c>stage:argument</c>; empty when there is none.</summary>
    public string Argument { get; init; } = "";

    /// <summary>What goes in. Valid until the stage has returned.</summary>
    public ReadOnlyMemory<byte> Payload { get; init; }

    /// <summary>Whether the payload is not a later piece of a larger one, in front of which there is no byte order mark.</summary>
    internal bool IsBeginning { get; init; } = true;
}
