using System.Text;

namespace FsScheduler.Sdk;

/// <summary>What becomes of a result.</summary>
public enum Delivery
{
    /// <summary>It comes back with the outcome.</summary>
    Result,

    /// <summary>The scheduler stores it in its folder of results, as <c>NAME.out</c>.</summary>
    Stored,

    /// <summary>It is thrown away; only the outcome is told.</summary>
    Nothing,
}

/// <summary>Work for the scheduler: a payload, and what is to be done with it.</summary>
public sealed record Submission
{
    /// <summary>What the work is called: a relative path with <c>/</c>, up to 2,000 bytes, each part up to 200.</summary>
    public required string Name { get; init; }

    /// <summary>What goes in. (default: nothing)</summary>
    public Payload Payload { get; init; } = Payload.Empty;

    /// <summary>Stages with <c>|</c> between, such as <c>lower | grep:erro</c>, up to 8,000 bytes. (default: the
    /// scheduler's own)</summary>
    public string? Pipeline { get; init; }

    /// <summary>From -1,000,000 to 1,000,000; higher first. (default: 0)</summary>
    public int Priority { get; init; }

    /// <summary>Up to 200 bytes. The same key with the same content is the same task, for as long as the scheduler remembers
    /// it. (default: a new key, which makes a submission safe against a lost connection)</summary>
    public string? Key { get; init; }

    /// <summary>What becomes of the result. (default: it comes back)</summary>
    public Delivery Delivery { get; init; }

    /// <summary>As it goes over the wire.</summary>
    /// <exception cref="ArgumentException">Something is out of range.</exception>
    internal Core.Submit ToWire(string reference, string key)
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
