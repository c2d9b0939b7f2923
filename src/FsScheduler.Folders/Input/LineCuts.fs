namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.IO
open Microsoft.Win32.SafeHandles
open FsScheduler.Core

/// Where a payload can be cut, so that its pieces are whole lines.
module LineCuts =

    let private bufferSize = 64 * 1024

    /// Behind the first newline from there on; the size, if there is none.
    let private behindNewline (file: SafeFileHandle) (buffer: byte[]) (start: int64) (size: int64) =
        let mutable at = start
        let mutable found = -1L

        while found < 0L && at < size do
            let most = int (min (int64 buffer.Length) (size - at))
            let read = RandomAccess.Read(file, Span(buffer, 0, most), at)

            if read = 0 then
                raise (EndOfStreamException "it is shorter than it was")

            match Span(buffer, 0, read).IndexOf(byte '\n') with
            | -1 -> at <- at + int64 read
            | index -> found <- at + int64 index + 1L

        if found < 0L then size else found

    /// <summary>Finds where pieces end: each behind the first newline that makes it at least so large, so that a line that
    /// is longer stays whole, and neither a CRLF nor a character of UTF-8 is cut.</summary>
    /// <param name="file">Read at the places where pieces may end only.</param>
    /// <param name="start">Where in the file the payload begins, in bytes.</param>
    /// <param name="size">Of the payload, from 1.</param>
    /// <param name="pieceSize">Of a piece, at least, but for the last; from 1.</param>
    /// <returns>The ends of the pieces in the payload, in ascending order; the last is its size.</returns>
    /// <exception cref="T:System.IO.IOException">It cannot be read, or is shorter than that.</exception>
    let find (file: SafeFileHandle) (start: Size) (size: Size) (pieceSize: Size) : Size[] =
        let cuts = List<Size>()
        let buffer = Array.zeroCreate bufferSize
        let mutable behind = 0L<B>

        while behind < size do
            behind <-
                if size - behind <= pieceSize then
                    size
                else
                    // The newline may be the very last byte of the piece.
                    let from = int64 (start + behind + pieceSize) - 1L
                    let found = behindNewline file buffer from (int64 (start + size))
                    found * 1L<B> - start

            cuts.Add behind

        cuts.ToArray()
