namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core

/// The end of the standard error of a program, as much as a message has room for. Safe for any thread.
[<Sealed>]
type internal StderrTail() =

    /// Bytes kept, at most.
    static let bytesMax = 4_096

    let ring: byte[] = Array.zeroCreate bytesMax
    let mutable total = 0L

    let text () =
        let kept = int (min total (int64 bytesMax))
        let bytes: byte[] = Array.zeroCreate kept
        let start = int ((total - int64 kept) % int64 bytesMax)

        for index in 0 .. kept - 1 do
            bytes[index] <- ring[(start + index) % bytesMax]

        // After a loss the first byte may be inside a character.
        let mutable first = 0

        if total > int64 bytesMax then
            while first < min 3 kept && bytes[first] &&& 0xC0uy = 0x80uy do
                first <- first + 1

        Encoding.UTF8.GetString(bytes, first, kept - first).Trim()

    let add (bytes: ReadOnlySpan<byte>) =
        let last = bytes.Slice(max 0 (bytes.Length - bytesMax))
        total <- total + int64 (bytes.Length - last.Length)

        for value in last do
            ring[int (total % int64 bytesMax)] <- value
            total <- total + 1L

    member _.Add(bytes: ReadOnlySpan<byte>) =
        Monitor.Enter ring

        try
            add bytes
        finally
            Monitor.Exit ring

    /// The last 4 KiB, without a partial character at the start, trimmed.
    member _.Text = lock ring text

    /// <summary>A message followed by as much of the standard error as fits.</summary>
    /// <param name="message">What happened.</param>
    member tail.Explain(message: string) =
        let said = tail.Text
        let room = ProtocolLimits.textCharsMax - message.Length - 2

        if said = "" || room < 1 then
            message
        elif said.Length <= room then
            $"{message}: {said}"
        else
            let start = said.Length - room

            let start = if Char.IsLowSurrogate said[start] then start + 1 else start

            $"{message}: {said.Substring start}"

    /// Reads to the end, and keeps the last bytes.
    member tail.ReadAsync(errors: Stream, ct: CancellationToken) : Task =
        task {
            let buffer: byte[] = Array.zeroCreate 4_096

            try
                let! first = errors.ReadAsync(buffer.AsMemory(), ct)
                let mutable count = first

                while count > 0 do
                    tail.Add(ReadOnlySpan(buffer, 0, count))
                    let! next = errors.ReadAsync(buffer.AsMemory(), ct)
                    count <- next
            with
            | :? IOException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()
        }
