using System.Text;

namespace FsScheduler.Sdk;

/// <summary>The result of a task. Up to 1 MiB is in memory; a larger result is a temporary file, which is deleted when the
/// result is disposed, or else when the client is.</summary>
public sealed class TaskResult : IDisposable
{
    private static readonly UTF8Encoding Strict = new(false, true);

    private readonly byte[] bytes;
    private readonly string? file;

    private TaskResult(byte[] bytes, string? file, long length)
    {
        this.bytes = bytes;
        this.file = file;
        Length = length;
    }

    /// <summary>The number of bytes.</summary>
    public long Length { get; }

    internal static TaskResult Of(Core.Content content)
    {
        if (content is Core.Content.Spooled spooled)
        {
            return new([], spooled.path, spooled.size);
        }

        var bytes = ((Core.Content.Bytes)content).Item;
        return new(bytes, null, bytes.LongLength);
    }

    /// <summary>Opens a stream at the first byte, which supports seeking. Dispose the stream before the result.</summary>
    /// <exception cref="IOException">The temporary file is gone: the result, or its client, is disposed.</exception>
    public Stream OpenRead() =>
        file is null
            ? new MemoryStream(bytes, writable: false)
            : new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1, useAsync: true);

    /// <summary>Reads the result into memory. For results of any size, use <see cref="OpenRead"/>.</summary>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="IOException">The result is over 2 GiB, or its temporary file is gone.</exception>
    public async ValueTask<ReadOnlyMemory<byte>> ReadAsync(CancellationToken cancellationToken = default) =>
        file is null ? bytes : await File.ReadAllBytesAsync(file, cancellationToken).ConfigureAwait(false);

    /// <summary>Moves the result into a file, which is overwritten, and disposes the result. A temporary file is renamed, and
    /// copied only to another file system.</summary>
    /// <param name="path">The path of the file.</param>
    /// <exception cref="IOException">The file cannot be written, or the temporary file is gone.</exception>
    public void MoveTo(string path)
    {
        if (file is null)
        {
            File.WriteAllBytes(path, bytes);
        }
        else
        {
            File.Move(file, path, overwrite: true);
        }
    }

    /// <summary>Reads the result as text in UTF-8.</summary>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="DecoderFallbackException">The result is not UTF-8.</exception>
    /// <exception cref="IOException">The result is over 2 GiB, or its temporary file is gone.</exception>
    public async ValueTask<string> ReadTextAsync(CancellationToken cancellationToken = default) =>
        Strict.GetString((await ReadAsync(cancellationToken).ConfigureAwait(false)).Span);

    internal ReadOnlyMemory<byte> ReadBytes() => file is null ? bytes : File.ReadAllBytes(file);

    /// <summary>Deletes the temporary file, if there is one.</summary>
    public void Dispose()
    {
        if (file is not null)
        {
            Protocol.SpoolFile.delete(file);
        }
    }
}
