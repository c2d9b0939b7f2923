using System.Runtime.InteropServices;
using System.Text;

namespace FsScheduler.Sdk;

/// <summary>What goes into a task, from memory, a file or a stream. It is kept until the task has its outcome, because it
/// may have to be sent again.</summary>
public abstract class Payload
{
    private protected Payload()
    {
    }

    /// <summary>No bytes.</summary>
    public static Payload Empty { get; } = FromBytes(ReadOnlyMemory<byte>.Empty);

    /// <summary>Bytes in memory. They must not change before the outcome.</summary>
    /// <param name="bytes">All of them.</param>
    public static Payload FromBytes(ReadOnlyMemory<byte> bytes) => new InMemory(bytes);

    /// <summary>Text, as UTF-8.</summary>
    /// <param name="text">All of it.</param>
    public static Payload FromText(string text) => FromBytes(Encoding.UTF8.GetBytes(text));

    /// <summary>A file, which is read while it is sent, in bounded memory. It must not change before the outcome.</summary>
    /// <param name="path">Where it is.</param>
    public static Payload FromFile(string path) => new InFile(path);

    /// <summary>A stream, read from where it stands to its end when it is submitted. What is over 64 KiB waits in a temporary
    /// file. For one submission; the caller disposes it.</summary>
    /// <param name="stream">It need not know its length.</param>
    public static Payload FromStream(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        return new InStream(stream);
    }

    /// <summary>Makes it ready to be sent, as often as it takes.</summary>
    /// <param name="folder">For temporary files.</param>
    /// <param name="most">How many bytes are taken. Of more, no more than the first beyond is read.</param>
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

            return new(new PreparedPayload(Core.Payload.NewBytes(whole), whole.LongLength, null, null));
        }
    }

    private sealed class InFile(string path) : Payload
    {
        internal override ValueTask<PreparedPayload> PrepareAsync(string folder, long most, CancellationToken ct)
        {
            var size = PreparedPayload.SizeOf(path);
            var wire = size == 0 ? Core.PayloadModule.empty : Core.Payload.NewSpooled(path, size);
            return new(new PreparedPayload(wire, size, path, null));
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
                return new(Core.Payload.NewBytes(buffer.AsSpan(0, first).ToArray()), first, null, null);
            }

            var path = Path.Combine(folder, $"in-{Guid.NewGuid():N}");

            try
            {
                var size = await SpoolAsync(buffer, path, most, ct).ConfigureAwait(false);
                return new(Core.Payload.NewSpooled(path, size), size, path, path);
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

/// <summary>A payload ready to be sent, as often as it takes.</summary>
/// <param name="Wire">Where its bytes are.</param>
/// <param name="Size">How many there are.</param>
/// <param name="Source">The file that they are in, if they are in one.</param>
/// <param name="Temporary">The file that goes with the payload, if there is one.</param>
internal sealed record PreparedPayload(Core.Payload Wire, long Size, string? Source, string? Temporary) : IDisposable
{
    /// <summary>Why it cannot be sent as it was promised; null when it can.</summary>
    public Exception? Trouble()
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

    /// <summary>The size of a file; of a link, that of the file that it leads to.</summary>
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
