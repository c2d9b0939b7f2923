using System.Runtime.ExceptionServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FsScheduler.Sdk;

/// <summary>A stage that makes one result of all lines of a text in UTF-8; a byte order mark in front of it is not part of
/// the first line. A payload over <see cref="PieceBytes"/> is cut
/// between lines into pieces, which are added up at the same time and merged in their order. If its states can travel
/// (<see cref="IsDistributed"/>), one over the scheduler's <c>--split</c> is added up by all workers that offer the stage.
/// </summary>
/// <typeparam name="TState">What is known of the lines so far.</typeparam>
/// <remarks>The law: merging the states of two texts gives the state of the one text that they make. So
/// <c>Merge(s, Seed) = s = Merge(Seed, s)</c>, <c>Merge</c> is associative, and for texts <c>a</c> and <c>b</c>
/// of whole lines <c>Merge(state(a), state(b)) = state(a + b)</c>. A state may be changed in place: each is used by one thread
/// at a time, and not again once it was merged.</remarks>
public abstract class AggregateStage<TState> : IStage, IFormedStage
{
    private const int LinesBetweenLooks = 1_024;
    private static readonly JsonSerializerOptions Json = new()
    {
        IncludeFields = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals, // the seed of a maximum
    };

    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <summary>The least length of a piece, in bytes, from 1; it ends with its line. (default: 4 MiB)</summary>
    protected virtual int PieceBytes => 4 * 1024 * 1024;

    /// <summary>Whether states are what <see cref="Read"/> makes of what <see cref="Write"/> gave, so that pieces of a
    /// payload may be added up by different workers. The same for every instance. (default: false, one worker gets all)</summary>
    protected virtual bool IsDistributed => false;

    /// <summary>The state of no lines; a new one for each call if states are changed in place.</summary>
    /// <param name="context">The task; its argument may matter.</param>
    protected abstract TState Seed(StageContext context);

    /// <summary>The state with one more line.</summary>
    /// <param name="state">Of the lines before it.</param>
    /// <param name="line">It, without its end.</param>
    protected abstract TState Add(TState state, string line);

    /// <summary>The state of the lines of both.</summary>
    /// <param name="left">Of the lines that come first.</param>
    /// <param name="right">Of those that follow them.</param>
    protected abstract TState Merge(TState left, TState right);

    /// <summary>What the stage gives.</summary>
    /// <param name="state">Of all lines.</param>
    /// <param name="context">The task; its payload may be states that were written, not the text.</param>
    protected abstract string Result(TState state, StageContext context);

    /// <summary>A state as a text without line ends. (default: JSON, of public properties and fields)</summary>
    /// <param name="state">Of some lines.</param>
    protected virtual string Write(TState state) => JsonSerializer.Serialize(state, Json);

    /// <summary>The state that was written.</summary>
    /// <param name="text">What <see cref="Write"/> gave, perhaps on another worker.</param>
    protected virtual TState Read(string text) => JsonSerializer.Deserialize<TState>(text, Json)!;

    IReadOnlyList<string> IFormedStage.Forms =>
        IsDistributed ? [Core.StageModule.partForm, Core.StageModule.mergeForm] : [];

    /// <inheritdoc/>
    /// <exception cref="StageFailedException">The payload is not UTF-8; the message names the byte.</exception>
    public async ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        var whole = await AddUpAsync(context, cancellationToken).ConfigureAwait(false);
        return TextLines.Encode(Result(whole, context));
    }

    async ValueTask<ReadOnlyMemory<byte>> IFormedStage.RunFormAsync(
        string form, StageContext context, CancellationToken cancellationToken)
    {
        if (form == Core.StageModule.mergeForm)
        {
            return TextLines.Encode(Result(MergeWritten(context, cancellationToken), context));
        }

        var written = Write(await AddUpAsync(context, cancellationToken).ConfigureAwait(false));

        return written.Contains('\n')
            ? throw new StageFailedException($"what {Name} writes of its state has a line end", retry: false)
            : (ReadOnlyMemory<byte>)TextLines.Encode(written + "\n");
    }

    private TState MergeWritten(StageContext context, CancellationToken ct)
    {
        var payload = context.Payload.Span;
        var merged = Seed(context);

        for (var offset = 0; offset < payload.Length;)
        {
            ct.ThrowIfCancellationRequested();
            var newline = payload[offset..].IndexOf((byte)'\n');
            var end = newline < 0 ? payload.Length : offset + newline;
            // A carriage return before the newline is part of what was written.
            merged = Merge(merged, Read(TextLines.Decode(payload[offset..end], offset)));
            offset = end + 1;
        }

        return merged;
    }

    private async Task<TState> AddUpAsync(StageContext context, CancellationToken cancellationToken)
    {
        var pieces = Cut(context.Payload.Span, TextLines.Mark(context));
        var states = new TState[pieces.Count];
        var errors = new Exception?[pieces.Count];
        var parallel = new ParallelOptions
        {
            CancellationToken = cancellationToken,
            MaxDegreeOfParallelism = Environment.ProcessorCount,
        };

        void AddUp(int index)
        {
            try
            {
                states[index] = State(context, pieces[index], cancellationToken);
            }
            catch (Exception error) when (error is not OperationCanceledException)
            {
                errors[index] = error;
            }
        }

        await Task.Run(() => Parallel.For(0, pieces.Count, parallel, AddUp), cancellationToken).ConfigureAwait(false);

        // The first in the text, whichever was found first: the same payload gives the same error.
        if (errors.FirstOrDefault(error => error is not null) is { } first)
        {
            ExceptionDispatchInfo.Throw(first);
        }

        return states.Length == 0 ? Seed(context) : states.Aggregate(Merge);
    }

    private List<Range> Cut(ReadOnlySpan<byte> payload, int start)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(PieceBytes, 1);
        var pieces = new List<Range>();

        while (start < payload.Length)
        {
            var least = Math.Min(payload.Length, start + (long)PieceBytes) - 1;
            var newline = payload[(int)least..].IndexOf((byte)'\n');
            var end = newline < 0 ? payload.Length : (int)least + newline + 1;
            pieces.Add(start..end);
            start = end;
        }

        return pieces;
    }

    private TState State(StageContext context, Range piece, CancellationToken ct)
    {
        var payload = context.Payload.Span[..piece.End.Value];
        var state = Seed(context);
        var offset = piece.Start.Value;

        for (var lines = 0; offset < payload.Length; lines++)
        {
            if (lines % LinesBetweenLooks == 0)
            {
                ct.ThrowIfCancellationRequested();
            }

            var rest = payload[offset..];
            var (text, end) = TextLines.First(rest);
            state = Add(state, TextLines.Decode(rest[..text], offset));
            offset += text + end;
        }

        return state;
    }
}
