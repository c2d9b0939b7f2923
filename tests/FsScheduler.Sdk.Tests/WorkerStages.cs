using System.Text;

namespace FsScheduler.Sdk.Tests;

internal sealed class VisitCount
{
    private int made;
    private int disposed;

    public int Made => made;

    public int Disposed => disposed;

    public int Make() => Interlocked.Increment(ref made);

    public void Dispose() => Interlocked.Increment(ref disposed);
}

internal sealed class Visit(VisitCount count) : IAsyncDisposable
{
    public int Number { get; } = count.Make();

    public ValueTask DisposeAsync()
    {
        count.Dispose();
        return ValueTask.CompletedTask;
    }
}

internal sealed class VisitStage(Visit visit) : IStage
{
    public string Name => "visits";

    public ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken) =>
        new(Encoding.UTF8.GetBytes($"{visit.Number}"));
}

internal sealed class AboutStage : IStage
{
    public string Name => "about";

    public ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        var payload = Encoding.UTF8.GetString(context.Payload.Span);
        return new(Encoding.UTF8.GetBytes(
            $"{context.Name} {context.TaskId} {context.Attempt} {context.Argument} {payload}"));
    }
}

internal sealed class FussyStage : IStage
{
    public string Name => "fussy";

    public ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken) =>
        Encoding.UTF8.GetString(context.Payload.Span) switch
        {
            "never" => throw new StageFailedException("not this one", retry: false),
            "later" when context.Attempt == 1 => throw new StageFailedException("not yet", retry: true),
            "broken" => throw new FormatException("broken in two"),
            _ => new(context.Payload),
        };
}

internal sealed class NumberedStage : PerLineStage
{
    public override string Name => "numbered";

    protected override string Transform(string line, StageContext context) => $"{context.TaskId}{context.Argument}{line}";
}

internal sealed record SeenBy(int Lines, string First, string Last, List<long> Tasks, double Most = double.NegativeInfinity);

internal sealed class SeenByStage : AggregateStage<SeenBy>
{
    public override string Name => "seen-by";

    protected override bool IsDistributed => true;

    protected override SeenBy Seed(StageContext context) => new(0, "", "", [context.TaskId]);

    protected override SeenBy Add(SeenBy state, string line) =>
        state with { Lines = state.Lines + 1, First = state.Lines == 0 ? line : state.First, Last = line };

    protected override SeenBy Merge(SeenBy left, SeenBy right) => new(
        left.Lines + right.Lines,
        left.Lines == 0 ? right.First : left.First,
        right.Lines == 0 ? left.Last : right.Last,
        [.. left.Tasks, .. right.Tasks],
        Math.Max(left.Most, right.Most));

    protected override string Result(SeenBy state, StageContext context) =>
        $"{state.Lines} lines, first {state.First}, last {state.Last}, tasks {string.Join(',', state.Tasks)}";
}

internal sealed class UnnamedStage : IStage
{
    public string Name => "no name";

    public ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken) =>
        new(context.Payload);
}

internal sealed class Gate
{
    public TaskCompletionSource Entered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public TaskCompletionSource Opened { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public TaskCompletionSource Cancelled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
}

internal sealed class GateStage(Gate gate) : IStage
{
    public string Name => "gate";

    public async ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        gate.Entered.TrySetResult();

        try
        {
            await gate.Opened.Task.WaitAsync(cancellationToken);
            return context.Payload;
        }
        catch (OperationCanceledException)
        {
            gate.Cancelled.TrySetResult();
            throw;
        }
    }
}
