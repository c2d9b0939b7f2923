using System.Text.Json;

namespace FsScheduler.Sdk;

/// <summary>The outcome of commands.</summary>
/// <param name="Errors">The errors of the scheduler; empty when every command succeeded.</param>
/// <param name="Trouble">Why the scheduler records nothing at present, so that it is not known yet whether the commands
/// are carried out; otherwise null.</param>
public sealed record CommandResult(IReadOnlyList<string> Errors, string? Trouble);

/// <summary>Why a task is where it is.</summary>
public sealed record TaskExplanation
{
    internal TaskExplanation(ReadOnlyMemory<byte> json)
    {
        using var document = JsonDocument.Parse(json);
        var root = document.RootElement;
        Json = json;
        TaskId = root.GetProperty("task").GetInt64();
        Name = root.GetProperty("name").GetString()!;
        State = root.GetProperty("state").GetString()!;
        Sentences = [.. root.GetProperty("sentences").EnumerateArray().Select(sentence => sentence.GetString()!)];
        Pipeline = root.GetProperty("events").EnumerateArray()
            .Select(@event => @event.TryGetProperty("pipeline", out var pipeline) ? pipeline.GetString() : null)
            .FirstOrDefault(pipeline => pipeline is not null);
    }

    /// <summary>The task's number.</summary>
    public long TaskId { get; }

    /// <summary>The name of the task.</summary>
    public string Name { get; }

    /// <summary>The state of the task, by the names of <c>docs/protocol.md</c>, such as <c>quarantined</c>.</summary>
    public string State { get; }

    /// <summary>The pipeline that the task was submitted with; null if the journal has forgotten it.</summary>
    public string? Pipeline { get; }

    /// <summary>For people: what has happened to the task, and what comes next.</summary>
    public IReadOnlyList<string> Sentences { get; }

    /// <summary>The answer as the scheduler sent it: a JSON object in UTF-8, with the events of the task.</summary>
    public ReadOnlyMemory<byte> Json { get; }
}

/// <summary>A page of <see cref="SchedulerClient.ListAsync"/>.</summary>
/// <param name="Tasks">The tasks, by ascending number; often fewer than <see cref="TaskQuery.Most"/>.</param>
/// <param name="Last">The <see cref="TaskQuery.After"/> of the next page.</param>
/// <param name="HasMore">Whether there may be tasks with higher numbers.</param>
public sealed record TaskPage(IReadOnlyList<TaskSummary> Tasks, long Last, bool HasMore);

/// <summary>A task, with its state.</summary>
public sealed record TaskSummary
{
    internal TaskSummary(string json)
    {
        using var document = JsonDocument.Parse(json);
        var root = document.RootElement;
        Json = json;
        TaskId = root.GetProperty("task").GetInt64();
        Name = root.GetProperty("name").GetString()!;
        State = root.GetProperty("state").GetString()!;
        Attempt = Property(root, "attempt") is { } attempt ? attempt.GetInt32() : null;
        Since = TimeSpan.FromMilliseconds(root.GetProperty("sinceMs").GetInt64());
        Stage = Property(root, "stage")?.GetString();
        Worker = Property(root, "worker")?.ToString();
        Error = Property(root, "error")?.GetString();
    }

    /// <summary>The task's number.</summary>
    public long TaskId { get; }

    /// <summary>The name of the task.</summary>
    public string Name { get; }

    /// <summary>The state of the task, by the names of <c>docs/protocol.md</c>, such as <c>running</c>.</summary>
    public string State { get; }

    /// <summary>How often the task was given to a worker; null if that is not known any more.</summary>
    public int? Attempt { get; }

    /// <summary>How long the task has been in its state.</summary>
    public TimeSpan Since { get; }

    /// <summary>The stage that the task is at, or waits for, if any.</summary>
    public string? Stage { get; }

    /// <summary>The worker that has the task, if any.</summary>
    public string? Worker { get; }

    /// <summary>The error of the last attempt, if it failed.</summary>
    public string? Error { get; }

    /// <summary>The line of the answer, as the scheduler sent it.</summary>
    public string Json { get; }

    private static JsonElement? Property(JsonElement root, string name) =>
        root.TryGetProperty(name, out var value) ? value : null;
}

/// <summary>A page of <see cref="SchedulerClient.GetEventsAsync"/>.</summary>
/// <param name="Lines">JSON lines in UTF-8, one for each event, as in <c>docs/protocol.md</c>.</param>
/// <param name="Last">The <see cref="EventQuery.After"/> of the next page.</param>
public sealed record EventPage(ReadOnlyMemory<byte> Lines, long Last);

/// <summary>A stage that workers offer, or tasks wait for.</summary>
public sealed record StageOffer
{
    internal StageOffer(string json)
    {
        using var document = JsonDocument.Parse(json);
        var root = document.RootElement;
        Stage = root.GetProperty("stage").GetString()!;
        Workers = root.GetProperty("workers").GetInt32();
        Slots = root.GetProperty("slots").GetInt64();
        Queued = root.GetProperty("queued").GetInt64();
    }

    /// <summary>The name of the stage in pipelines.</summary>
    public string Stage { get; }

    /// <summary>How many connected workers offer the stage.</summary>
    public int Workers { get; }

    /// <summary>How many tasks these workers hold at once, all together.</summary>
    public long Slots { get; }

    /// <summary>How many tasks wait for the stage.</summary>
    public long Queued { get; }
}
