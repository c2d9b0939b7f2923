namespace FsScheduler.Runtime

open System
open System.Buffers.Binary
open System.IO

/// A page in the write-ahead log of SQLite, as it stood after a transaction.
[<Struct>]
type LogFrame = {
    /// Of the file, counted from 1.
    page: int
    /// Pages of the file after the transaction; 0: the transaction goes on.
    pages: int
    /// Where the page begins in the log.
    offset: int64
    /// Whether it is what was written.
    isWhole: bool
}

/// What stands in a write-ahead log.
type LogContent = {
    pageBytes: int
    /// Of the latest round, in order. What an earlier one has left behind them is not among them.
    frames: LogFrame[]
    /// Frames of the latest round up to the first that is not what was written.
    whole: int
    /// Transactions that end after it.
    commitsAfter: int
}

/// <summary>The log that SQLite keeps beside the file, read without SQLite: that ends at the first frame that is not what
/// was written, and does not say so.</summary>
/// <remarks>The format is part of SQLite's file format, section 4: a header of 32 bytes; frames of a header of 24 bytes
/// and a page. Each has the salts of its round, and a sum over all that stands before it.</remarks>
module WriteAheadLog =

    let pathOf (path: string) = path + "-wal"

    let private headerBytes = 32
    let private frameHeaderBytes = 24
    let private magic = 0x377f0682u

    /// Whether there is one, with something in it.
    let isThere (path: string) =
        let log = FileInfo(pathOf path)
        log.Exists && log.Length > 0L

    let private number (bytes: ReadOnlySpan<byte>) at =
        BinaryPrimitives.ReadUInt32BigEndian(bytes.Slice(at, 4))

    /// Goes on with a sum, over a whole number of pairs of words.
    let private sum
        isBigEndian
        (bytes: ReadOnlySpan<byte>)
        (struct (first: uint32, second: uint32))
        =
        let mutable first = first
        let mutable second = second
        let mutable at = 0

        while at < bytes.Length do
            let pair = bytes.Slice(at, 8)

            let struct (one, two) =
                if isBigEndian then
                    struct (BinaryPrimitives.ReadUInt32BigEndian pair,
                            BinaryPrimitives.ReadUInt32BigEndian(pair.Slice 4))
                else
                    struct (BinaryPrimitives.ReadUInt32LittleEndian pair,
                            BinaryPrimitives.ReadUInt32LittleEndian(pair.Slice 4))

            first <- first + one + second
            second <- second + two + first
            at <- at + 8

        struct (first, second)

    let private sumAt (bytes: ReadOnlySpan<byte>) at =
        struct (number bytes at, number bytes (at + 4))

    let private readFrames (file: Stream) (header: byte[]) pageBytes isBigEndian isHeaderWhole =
        let head = Array.zeroCreate<byte> frameHeaderBytes
        let page = Array.zeroCreate<byte> pageBytes
        let frames = ResizeArray<LogFrame>()
        let mutable salts = sumAt (ReadOnlySpan header) 16
        // Each sum goes on from the one before as it is written, so that one wrong frame does not make the next ones wrong.
        let mutable before = sumAt (ReadOnlySpan header) 24
        let mutable whole = if isHeaderWhole then -1 else 0
        let mutable commitsAfter = 0
        let mutable index = 0

        while file.ReadAtLeast(Span head, frameHeaderBytes, false) = frameHeaderBytes
              && file.ReadAtLeast(Span page, pageBytes, false) = pageBytes do
            let start = ReadOnlySpan head

            // The header does not say which round it was: that of the first frame, then.
            if not isHeaderWhole && index = 0 then
                salts <- sumAt start 8

            let isOfRound = sumAt start 8 = salts
            let pages = int (number start 4)

            let isWhole =
                isOfRound
                && number start 0 > 0u
                && sum isBigEndian (ReadOnlySpan page) (sum isBigEndian (start.Slice(0, 8)) before) =
                    sumAt start 16

            if not isWhole && whole < 0 then
                whole <- index

            if isOfRound && whole >= 0 && index > whole && pages > 0 then
                commitsAfter <- commitsAfter + 1

            if isOfRound || index = whole then
                frames.Add {
                    page = int (number start 0)
                    pages = pages
                    offset =
                        int64 headerBytes
                        + int64 index * int64 (frameHeaderBytes + pageBytes)
                        + int64 frameHeaderBytes
                    isWhole = isWhole
                }

            before <- sumAt start 16
            index <- index + 1

        {
            pageBytes = pageBytes
            frames = frames.ToArray()
            whole = if whole < 0 then frames.Count else whole
            commitsAfter = commitsAfter
        }

    /// <summary>Reads all of it.</summary>
    /// <param name="path">The file that it belongs to.</param>
    /// <param name="pageBytes">The size of a page, should the log's own header not say.</param>
    /// <returns>Nothing, if there is no log.</returns>
    let read (path: string) (pageBytes: int) : LogContent voption =
        if not (isThere path) then
            ValueNone
        else
            use file =
                new FileStream(
                    pathOf path,
                    FileMode.Open,
                    FileAccess.Read,
                    FileShare.ReadWrite ||| FileShare.Delete,
                    1 <<< 20
                )

            let header: byte[] = Array.zeroCreate headerBytes

            if file.ReadAtLeast(Span header, headerBytes, false) < headerBytes then
                ValueNone
            else
                let start = ReadOnlySpan header
                let isMagic = number start 0 &&& ~~~1u = magic

                let isBigEndian =
                    if isMagic then
                        number start 0 &&& 1u = 1u
                    else
                        not BitConverter.IsLittleEndian

                let size = int (number start 8)

                let isWhole =
                    isMagic
                    && size >= 512
                    && size <= 65_536
                    && Int32.IsPow2 size
                    && sum isBigEndian (start.Slice(0, 24)) (struct (0u, 0u)) = sumAt start 24

                readFrames file header (if isWhole then size else pageBytes) isBigEndian isWhole
                |> ValueSome

    /// <summary>What is wrong with a log, and not because the power went while it was written. A transaction is written
    /// only after the one before it was flushed, so at most one can follow a frame that is torn.</summary>
    /// <remarks>A scheduler that writes meanwhile may look like damage; but not twice in the same place.</remarks>
    let trouble (path: string) (pageBytes: int) : string option =
        let look () =
            match read path pageBytes with
            | ValueSome log when log.commitsAfter >= 2 ->
                ValueSome(struct (log.whole, log.commitsAfter))
            | ValueSome _
            | ValueNone -> ValueNone

        match look () with
        | ValueSome(struct (whole, _)) ->
            match look () with
            | ValueSome(struct (again, commits)) when again = whole ->
                Some
                    $"frame {whole + 1} of {pathOf path} is not what was written, and {commits} transactions follow it: they would be lost"
            | ValueSome _
            | ValueNone -> None
        | ValueNone -> None

    /// <summary>Brings what a log has into a copy of its file: every page as it was written last.</summary>
    /// <param name="path">The file that the log belongs to.</param>
    /// <param name="copy">Written to.</param>
    /// <param name="pageBytes">The size of a page.</param>
    /// <returns>How many frames could not be read.</returns>
    let applyTo (path: string) (copy: Stream) (pageBytes: int) : int =
        match read path pageBytes with
        | ValueSome log when log.pageBytes = pageBytes ->
            // Behind a torn end there is nothing that anybody was told of.
            let frames =
                if log.commitsAfter >= 2 then
                    log.frames
                else
                    Array.truncate log.whole log.frames

            let last =
                Array.FindLastIndex(frames, (fun frame -> frame.isWhole && frame.pages > 0))

            use file =
                File.OpenHandle(
                    pathOf path,
                    FileMode.Open,
                    FileAccess.Read,
                    FileShare.ReadWrite ||| FileShare.Delete
                )

            let page = Array.zeroCreate<byte> pageBytes
            let mutable wrong = 0

            for index in 0..last do
                let frame = frames[index]

                if frame.isWhole then
                    RandomAccess.Read(file, Span page, frame.offset) |> ignore
                    copy.Position <- int64 (frame.page - 1) * int64 pageBytes
                    copy.Write(ReadOnlySpan page)
                else
                    wrong <- wrong + 1

            if last >= 0 then
                copy.SetLength(int64 frames[last].pages * int64 pageBytes)

            wrong
        | ValueSome log -> log.frames.Length
        | ValueNone -> 0
