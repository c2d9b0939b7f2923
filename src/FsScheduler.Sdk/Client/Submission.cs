using System.Text;

namespace FsScheduler.Sdk;

/// <summary>Where a result goes.</summary>
public enum Delivery
{
    /// <summary>To the client, with the outcome.</summary>
    Result,

    /// <summary>Into the scheduler's folder of results, as <c>NAME.out</c>.</summary>
    Stored,

    /// <summary>Nowhere: the client gets the outcome only.</summary>
    Nothing,
}

/// <summary>A task to submit: a payload and its pipeline.</summary>
public sealed record Submission
{
    /// <summary>The name of the task: a relative path with <c>/</c>, up to 2,000 bytes, each part up to 200.</summary>
    public required string Name { get; init; }

    /// <summary>The bytes that the task is given. (default: no bytes)</summary>
    public Payload Payload { get; init; } = Payload.Empty;

    /// <summary>Stages with <c>|</c> between them, such as <c>lower | grep:erro</c>, up to 8,000 bytes. (default: the
    /// pipeline of the scheduler)</summary>
    public string? Pipeline { get; init; }

    /// <summary>-1,000,000 to 1,000,000; tasks of a higher priority are first. (default: 0)</summary>
    public int Priority { get; init; }

    /// <summary>Up to 200 bytes. The same key with the same content is the same task, as long as the scheduler remembers the
    /// task. (default: a new key, which makes a submission safe against a lost connection)</summary>
    public string? Key { get; init; }

    /// <summary>Where the result goes. (default: to the client)</summary>
    public Delivery Delivery { get; init; }

    /// <summary>The message SUBMIT.</summary>
    /// <exception cref="ArgumentException">A value is out of range.</exception>
    internal Core.Submit ToMessage(string reference, string key)
    {
        var name = Core.TaskNameModule.parse(Name);

        if (name.IsError)
        {
            throw new ArgumentException($"the name '{Name}' cannot be used: {name.ErrorValue}", nameof(Name));
        }

        if (Math.Abs((long)Priority) > Core.ProtocolLimits.priorityMax)
        {
            throw new ArgumentException(
                $"a priority is from -{Core.ProtocolLimits.priorityMax} to {Core.ProtocolLimits.priorityMax}, not {Priority}",
                nameof(Priority));
        }

        RequireBytes(key, Core.ProtocolLimits.keyBytesMax, "a key", nameof(Key));
        RequireBytes(Pipeline ?? "", Core.ProtocolLimits.pipelineBytesMax, "a pipeline", nameof(Pipeline));

        var want = Delivery switch
        {
            Delivery.Result => Core.Want.Result,
            Delivery.Stored => Core.Want.File,
            Delivery.Nothing => Core.Want.Nothing,
            _ => throw new ArgumentException($"{Delivery} is no delivery", nameof(Delivery)),
        };

        return new(reference, Name, Pipeline ?? "", Priority, key, want);
    }

    private static void RequireBytes(string text, int most, string what, string parameter)
    {
        var bytes = Encoding.UTF8.GetByteCount(text);

        if (bytes > most)
        {
            throw new ArgumentException($"{what} has at most {most} bytes of UTF-8, not {bytes}", parameter);
        }
    }
}
