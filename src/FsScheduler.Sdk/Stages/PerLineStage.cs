using System.Buffers;

namespace FsScheduler.Sdk;

/// <summary>A stage that does the same with each line of a text in UTF-8. Line ends stay as they are, <c>\n</c> or
/// <c>\r\n</c>, also where the last line has none, and so does a byte order mark in front of the text, which is not part of its first line. A payload over the scheduler's <c>--split</c> comes in pieces of whole
/// lines, to all workers that offer the stage.</summary>
public abstract class PerLineStage : IStage, IFormedStage
{
    private const int LinesBetweenLooks = 1_024;

    /// <inheritdoc/>
    public abstract string Name { get; }

    IReadOnlyList<string> IFormedStage.Forms => [Core.StageModule.linesForm];

    /// <summary>What becomes of one line.</summary>
    /// <param name="line">It, without its end.</param>
    /// <param name="context">The task that it is of.</param>
    /// <returns>What takes its place; null leaves the line out, and its end with it.</returns>
    protected abstract string? Transform(string line, StageContext context);

    /// <inheritdoc/>
    /// <exception cref="StageFailedException">The payload is not UTF-8; the message names the byte.</exception>
    public ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        var payload = context.Payload.Span;
        var output = new ArrayBufferWriter<byte>();
        var offset = TextLines.Mark(context);
        output.Write(payload[..offset]);

        for (var lines = 0; offset < payload.Length; lines++)
        {
            if (lines % LinesBetweenLooks == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            var rest = payload[offset..];
            var (text, end) = TextLines.First(rest);

            if (Transform(TextLines.Decode(rest[..text], offset), context) is { } changed)
            {
                output.Write(TextLines.Encode(changed));
                output.Write(rest.Slice(text, end));
            }

            offset += text + end;
        }

        return new(output.WrittenMemory);
    }

    ValueTask<ReadOnlyMemory<byte>> IFormedStage.RunFormAsync(
        string form, StageContext context, CancellationToken cancellationToken) => RunAsync(context, cancellationToken);
}
