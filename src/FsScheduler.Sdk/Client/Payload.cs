using System.Runtime.InteropServices;
using System.Text;

namespace FsScheduler.Sdk;

/// <summary>The bytes that a task is given, from memory, a file or a stream. They are kept until the task has its outcome,
/// because they may have to be sent again.</summary>
public abstract class Payload
{
    private protected Payload()
    {
    }

    /// <summary>No bytes.</summary>
    public static Payload Empty { get; } = FromBytes(ReadOnlyMemory<byte>.Empty);

    /// <summary>Bytes in memory. They must not change before the outcome.</summary>
    /// <param name="bytes">The payload.</param>
    public static Payload FromBytes(ReadOnlyMemory<byte> bytes) => new InMemory(bytes);

    /// <summary>Text, as UTF-8.</summary>
    /// <param name="text">The payload.</param>
    public static Payload FromText(string text) => FromBytes(Encoding.UTF8.GetBytes(text));

    /// <summary>A file, which is sent in bounded memory. It must not change before the outcome.</summary>
    /// <param name="path">The path of the file.</param>
    public static Payload FromFile(string path) => new InFile(path);

    /// <summary>A stream, read from its position to its end when it is submitted. A payload of 64 KiB or more waits in a
    /// temporary file. For one submission; the caller disposes the stream.</summary>
    /// <param name="stream">The payload; its length need not be known.</param>
    public static Payload FromStream(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        return new InStream(stream);
    }

    /// <summary>Prepares the payload for being sent, any number of times.</summary>
    /// <param name="folder">The folder for temporary files.</param>
    /// <param name="most">The most bytes that the scheduler takes. A stream is read little further.</param>
    /// <param name="ct">Ends the reading.</param>
    internal abstract ValueTask<PreparedPayload> PrepareAsync(string folder, long most, CancellationToken ct);

    private sealed class InMemory(ReadOnlyMemory<byte> bytes) : Payload
    {
        internal override ValueTask<PreparedPayload> PrepareAsync(string folder, long most, CancellationToken ct)
        {
            var whole = MemoryMarshal.TryGetArray(bytes, out var segment)
                && segment.Array is { } array
                && segment.Count == array.Length
                ? array
                : bytes.ToArray();

            return new(new PreparedPayload(Core.Content.NewBytes(whole), whole.LongLength, null, null));
        }
    }

    private sealed class InFile(string path) : Payload
    {
        internal override ValueTask<PreparedPayload> PrepareAsync(string folder, long most, CancellationToken ct)
        {
            var size = PreparedPayload.SizeOf(path);
            var payload = size == 0 ? Core.ContentModule.empty : Core.Content.NewSpooled(path, size);
            return new(new PreparedPayload(payload, size, path, null));
        }
    }

    private sealed class InStream(Stream stream) : Payload
    {
        private const int MemoryMax = 64 * 1024;
        private int isRead;

        internal override async ValueTask<PreparedPayload> PrepareAsync(string folder, long most, CancellationToken ct)
        {
            if (Interlocked.Exchange(ref isRead, 1) != 0)
            {
                throw new InvalidOperationException("the payload is a stream, which can be submitted once");
            }

            var buffer = new byte[MemoryMax];
            var first = await stream.ReadAtLeastAsync(buffer, MemoryMax, false, ct).ConfigureAwait(false);

            if (first < MemoryMax)
            {
                return new(Core.Content.NewBytes(buffer.AsSpan(0, first).ToArray()), first, null, null);
            }

            var path = Path.Combine(folder, $".fss-{Guid.NewGuid():N}.tmp");

            try
            {
                var size = await SpoolAsync(buffer, path, most, ct).ConfigureAwait(false);
                return new(Core.Content.NewSpooled(path, size), size, path, path);
            }
            catch
            {
                Protocol.SpoolFile.delete(path);
                throw;
            }
        }

        private async Task<long> SpoolAsync(byte[] buffer, string path, long most, CancellationToken ct)
        {
            await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, 1, true);
            var count = buffer.Length;
            long size = 0;

            while (count > 0 && size <= most)
            {
                await file.WriteAsync(buffer.AsMemory(0, count), ct).ConfigureAwait(false);
                size += count;
                count = await stream.ReadAsync(buffer, ct).ConfigureAwait(false);
            }

            return size;
        }
    }
}

/// <summary>A payload that can be sent any number of times.</summary>
/// <param name="Payload">The bytes, or their file.</param>
/// <param name="Size">The number of bytes.</param>
/// <param name="Source">The file of the bytes; null: they are in memory.</param>
/// <param name="Temporary">The file to delete with the payload, if any.</param>
internal sealed record PreparedPayload(Core.Content Payload, long Size, string? Source, string? Temporary) : IDisposable
{
    /// <summary>The error of a file that has changed or cannot be read; null: the payload can be sent.</summary>
    public Exception? SourceError()
    {
        if (Source is null)
        {
            return null;
        }

        try
        {
            var size = SizeOf(Source);

            return size == Size
                ? null
                : new IOException($"'{Source}' had {Size} bytes and now has {size}: it changed before its task had ended");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return error;
        }
    }

    /// <summary>The size of a file, in bytes; links are followed.</summary>
    public static long SizeOf(string path)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        return RandomAccess.GetLength(file);
    }

    public void Dispose()
    {
        if (Temporary is not null)
        {
            Protocol.SpoolFile.delete(Temporary);
        }
    }
}
