using System.Runtime.ExceptionServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FsScheduler.Sdk;

/// <summary>A stage that computes one result from all lines of a text in UTF-8. A byte order mark in front of the text is not
/// part of the first line. A payload over <see cref="PieceBytes"/> is cut between lines into pieces, which are aggregated on
/// several threads and merged in their order. With <see cref="IsDistributed"/>, a payload over <c>--split</c> of the scheduler
/// is aggregated by all workers that offer the stage.</summary>
/// <typeparam name="TState">The aggregate of some lines.</typeparam>
/// <remarks>The law: merging the states of two texts gives the state of the concatenated text. So
/// <c>Merge(s, Seed) = s = Merge(Seed, s)</c>, <c>Merge</c> is associative, and for texts <c>a</c> and <c>b</c> of complete
/// lines <c>Merge(state(a), state(b)) = state(a + b)</c>. A state may be changed in place: it is used by one thread at a time,
/// and not again once it is merged.</remarks>
public abstract class AggregateStage<TState> : IStage, IFormedStage
{
    private const int LinesBetweenChecks = 1_024;
    private static readonly JsonSerializerOptions Json = new()
    {
        IncludeFields = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals, // the seed of a maximum
    };

    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <summary>The least length of a piece, in bytes, from 1; a piece ends with a line. (default: 4 MiB)</summary>
    protected virtual int PieceBytes => 4 * 1024 * 1024;

    /// <summary>Whether <see cref="Read"/> restores the states that <see cref="Write"/> has written, so that different workers
    /// may aggregate pieces of a payload. The same for every instance. (default: false, one worker gets the payload)</summary>
    protected virtual bool IsDistributed => false;

    /// <summary>The state of no lines; a new object for each call if states are changed in place.</summary>
    /// <param name="context">The task, with the argument of the stage.</param>
    protected abstract TState Seed(StageContext context);

    /// <summary>The state with one more line.</summary>
    /// <param name="state">The state of the lines before.</param>
    /// <param name="line">The line, without its end.</param>
    protected abstract TState Add(TState state, string line);

    /// <summary>The state of the lines of two states.</summary>
    /// <param name="left">The state of the first lines.</param>
    /// <param name="right">The state of the lines after them.</param>
    protected abstract TState Merge(TState left, TState right);

    /// <summary>The result of the stage.</summary>
    /// <param name="state">The state of all lines.</param>
    /// <param name="context">The task; its payload may be written states in place of the text.</param>
    protected abstract string Result(TState state, StageContext context);

    /// <summary>Writes a state as text without line ends. (default: JSON, of public properties and fields)</summary>
    /// <param name="state">The state of some lines.</param>
    protected virtual string Write(TState state) => JsonSerializer.Serialize(state, Json);

    /// <summary>Reads a state.</summary>
    /// <param name="text">The text from <see cref="Write"/>, perhaps of another worker.</param>
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
            ? throw new StageFailedException($"the state that the stage {Name} has written has a line end", retry: false)
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
            // A carriage return before the newline is part of the written state.
            merged = Merge(merged, Read(TextLines.Decode(payload[offset..end], offset)));
            offset = end + 1;
        }

        return merged;
    }

    private async Task<TState> AddUpAsync(StageContext context, CancellationToken cancellationToken)
    {
        var pieces = Cut(context.Payload.Span, TextLines.MarkLength(context));
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

        // The first error in the text, not in time: the same payload gives the same error.
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
            if (lines % LinesBetweenChecks == 0)
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
