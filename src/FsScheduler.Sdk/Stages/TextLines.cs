using System.Text;

namespace FsScheduler.Sdk;

/// <summary>Lines of UTF-8, which end with a newline, or with a carriage return and a newline. The last line may have no
/// end.</summary>
internal static class TextLines
{
    private static readonly UTF8Encoding Strict = new(false, true);

    /// <summary>The length in bytes of the byte order mark in front of the text; 0: there is none.</summary>
    public static int MarkLength(StageContext context) =>
        context.IsBeginning && context.Payload.Span.StartsWith(Encoding.UTF8.Preamble) ? Encoding.UTF8.Preamble.Length : 0;

    /// <summary>The lengths in bytes of the first line, without its end, and of its end.</summary>
    public static (int Text, int End) First(ReadOnlySpan<byte> rest)
    {
        var newline = rest.IndexOf((byte)'\n');

        return newline switch
        {
            < 0 => (rest.Length, 0),
            > 0 when rest[newline - 1] == '\r' => (newline - 1, 2),
            _ => (newline, 1),
        };
    }

    /// <summary>The text of a line.</summary>
    /// <param name="line">The bytes of the line.</param>
    /// <param name="offset">The offset of the line in its payload, in bytes.</param>
    /// <exception cref="StageFailedException">The line is not UTF-8; the message names the byte of the payload.</exception>
    public static string Decode(ReadOnlySpan<byte> line, long offset)
    {
        try
        {
            return Strict.GetString(line);
        }
        catch (DecoderFallbackException error)
        {
            throw new StageFailedException($"invalid UTF-8 at byte {offset + error.Index}", retry: false, error);
        }
    }

    /// <summary>Text as UTF-8.</summary>
    /// <param name="text">The result of a stage.</param>
    /// <exception cref="StageFailedException">The text has half a surrogate pair.</exception>
    public static byte[] Encode(string text)
    {
        try
        {
            return Strict.GetBytes(text);
        }
        catch (EncoderFallbackException error)
        {
            throw new StageFailedException(
                $"the result is not Unicode text: there is half a surrogate pair at character {error.Index}", retry: false, error);
        }
    }
}
