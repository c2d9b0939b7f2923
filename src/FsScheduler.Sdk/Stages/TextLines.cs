using System.Text;

namespace FsScheduler.Sdk;

/// <summary>Lines of UTF-8. A line ends with a newline, before which there may be a carriage return; the last one need
/// not end.</summary>
internal static class TextLines
{
    private static readonly UTF8Encoding Strict = new(false, true);

    /// <summary>How long the byte order mark in front of the text is, which is no part of its first line: 0 without one.</summary>
    public static int Mark(StageContext context) =>
        context.IsBeginning && context.Payload.Span.StartsWith(Encoding.UTF8.Preamble) ? Encoding.UTF8.Preamble.Length : 0;

    /// <summary>How many bytes the line at the beginning has, without its end, and how long that end is.</summary>
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
    /// <param name="line">Its bytes.</param>
    /// <param name="offset">Where it begins in its payload, in bytes.</param>
    /// <exception cref="StageFailedException">It is not UTF-8; the message names the byte of the payload.</exception>
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

    /// <summary>Text as bytes.</summary>
    /// <param name="text">What a stage gave.</param>
    /// <exception cref="StageFailedException">It has half a surrogate pair.</exception>
    public static byte[] Encode(string text)
    {
        try
        {
            return Strict.GetBytes(text);
        }
        catch (EncoderFallbackException error)
        {
            throw new StageFailedException(
                $"the result is no Unicode text: it has half a surrogate pair at character {error.Index}", retry: false, error);
        }
    }
}
