namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.IO
open Microsoft.Win32.SafeHandles
open FsScheduler.Core

/// Finds where a payload can be split into whole lines.
module PieceBoundaries =

    let private bufferSize = 64 * 1024

    /// The position behind the first newline from `start` on; the size if there is none.
    let private behindNewline (file: SafeFileHandle) (buffer: byte[]) (start: int64) (size: int64) =
        let mutable at = start
        let mutable found = -1L

        while found < 0L && at < size do
            let most = int (min (int64 buffer.Length) (size - at))
            let read = RandomAccess.Read(file, Span(buffer, 0, most), at)

            if read = 0 then
                raise (EndOfStreamException "the file is shorter than its payload")

            match Span(buffer, 0, read).IndexOf(byte '\n') with
            | -1 -> at <- at + int64 read
            | index -> found <- at + int64 index + 1L

        if found < 0L then size else found

    /// <summary>Finds the ends of pieces: each behind the first newline that makes the piece large enough, so that
    /// longer lines stay whole, and neither a CRLF nor a UTF-8 character is split.</summary>
    /// <param name="file">Read only where pieces may end.</param>
    /// <param name="start">Where in the file the payload begins, in bytes.</param>
    /// <param name="size">The size of the payload, from 1.</param>
    /// <param name="pieceSize">The least size of a piece, except the last; from 1.</param>
    /// <returns>The ends of the pieces in the payload, in ascending order; the last is its size.</returns>
    /// <exception cref="T:System.IO.IOException">The file cannot be read, or is too short.</exception>
    let find (file: SafeFileHandle) (start: Size) (size: Size) (pieceSize: Size) : Size[] =
        let cuts = List<Size>()
        let buffer = Array.zeroCreate bufferSize
        let mutable behind = 0L<B>

        while behind < size do
            behind <-
                if size - behind <= pieceSize then
                    size
                else
                    // The last byte of the piece may be the newline.
                    let from = int64 (start + behind + pieceSize) - 1L
                    let found = behindNewline file buffer from (int64 (start + size))
                    found * 1L<B> - start

            cuts.Add behind

        cuts.ToArray()
