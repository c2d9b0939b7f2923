using System.Buffers;

namespace FsScheduler.Sdk;

/// <summary>A stage that transforms each line of a text in UTF-8. Line ends stay as they are, <c>\n</c> or <c>\r\n</c>, as does
/// a last line without an end. So does a byte order mark in front of the text, which is not part of the first line. A payload
/// over <c>--split</c> of the scheduler is cut into pieces of complete lines, for all workers that offer the stage.</summary>
public abstract class PerLineStage : IStage, IFormedStage
{
    private const int LinesBetweenChecks = 1_024;

    /// <inheritdoc/>
    public abstract string Name { get; }

    IReadOnlyList<string> IFormedStage.Forms => [Core.StageModule.linesForm];

    /// <summary>Transforms a line.</summary>
    /// <param name="line">The line, without its end.</param>
    /// <param name="context">The task.</param>
    /// <returns>The new line; null leaves out the line and its end.</returns>
    protected abstract string? Transform(string line, StageContext context);

    /// <inheritdoc/>
    /// <exception cref="StageFailedException">The payload is not UTF-8; the message names the byte.</exception>
    public ValueTask<ReadOnlyMemory<byte>> RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        var payload = context.Payload.Span;
        var output = new ArrayBufferWriter<byte>();
        var offset = TextLines.MarkLength(context);
        output.Write(payload[..offset]);

        for (var lines = 0; offset < payload.Length; lines++)
        {
            if (lines % LinesBetweenChecks == 0)
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
