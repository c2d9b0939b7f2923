namespace FsScheduler.Journal

open System
open System.Globalization
open System.IO
open System.IO.Hashing
open System.Text
open System.Threading

/// The durable end of a journal a moment ago, kept in a small file beside it: one that ends earlier has lost events.
type HighWaterMark = {
    /// The first event of its last batch.
    first: int64
    /// The number that follows the last batch.
    next: int64
    /// The sum of the last batch.
    sum: int64
    /// Whether appends are flushed: if not, a power failure may cost the end of the journal.
    isFlushed: bool
}

type internal MarkFound =
    | Missing
    /// The file is torn, or is something else.
    | Unreadable
    | Found of HighWaterMark

module HighWaterMark =

    let private title = "fs-scheduler journal mark 1"

    /// The file of the mark: `journal.mark` beside `journal.db`.
    let pathOf (journal: string) : string =
        nonNull (Path.ChangeExtension(journal, ".mark"))

    let private sumOf (text: string) =
        XxHash3.HashToUInt64(ReadOnlySpan(Encoding.ASCII.GetBytes text))

    // The text always has one length, since it overwrites the old one.
    let private print (mark: HighWaterMark) =
        let flushed = if mark.isFlushed then "yes" else "no "

        let text =
            $"{title}\nfirst {mark.first:D20}\nnext {mark.next:D20}\nbatch {mark.sum:x16}\nflushed {flushed}\n"

        $"{text}sum {sumOf text:x16}\n"

    let private parse (text: string) =
        match text.Split '\n' with
        | [| found; first; next; batch; flushed; _; "" |] when found = title ->
            try
                let number (line: string) =
                    Int64.Parse(line.Substring(line.IndexOf ' ' + 1), CultureInfo.InvariantCulture)

                let mark = {
                    first = number first
                    next = number next
                    sum = Int64.Parse(batch.Substring 6, NumberStyles.HexNumber)
                    isFlushed = flushed = "flushed yes"
                }

                if print mark = text then Found mark else Unreadable
            with
            | :? FormatException
            | :? OverflowException
            | :? ArgumentException -> Unreadable
        | _ -> Unreadable

    let internal read (journal: string) : MarkFound =
        try
            parse (File.ReadAllText(pathOf journal))
        with
        | :? FileNotFoundException
        | :? DirectoryNotFoundException -> Missing
        | :? IOException
        | :? UnauthorizedAccessException -> Unreadable

    /// <summary>Writes the mark of a journal, without a flush: less than a sector in place of the old mark, which needs
    /// no space on a full disk and is never seen in part.</summary>
    /// <exception cref="T:System.IO.IOException">The file cannot be written.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">The file may not be written.</exception>
    let internal write (journal: string) (mark: HighWaterMark) : unit =
        let options =
            FileStreamOptions(
                Mode = FileMode.OpenOrCreate,
                Access = FileAccess.Write,
                Share = (FileShare.ReadWrite ||| FileShare.Delete),
                BufferSize = 0
            )

        if not (OperatingSystem.IsWindows()) then
            options.UnixCreateMode <- UnixFileMode.UserRead ||| UnixFileMode.UserWrite

        use file = new FileStream(pathOf journal, options)
        let bytes = Encoding.ASCII.GetBytes(print mark)
        RandomAccess.Write(file.SafeFileHandle, ReadOnlySpan bytes, 0L)

        if RandomAccess.GetLength file.SafeFileHandle > bytes.LongLength then
            RandomAccess.SetLength(file.SafeFileHandle, bytes.LongLength)

/// <summary>Updates the mark of a journal: at most a second behind, never ahead.</summary>
/// <param name="journal">The file of the journal.</param>
[<Sealed>]
type internal MarkWriter(journal: string) as this =
    let sync = obj ()
    let mutable latest: HighWaterMark voption = ValueNone
    let mutable isDue = false

    let timer =
        new Timer((fun _ -> this.Write()), null, Timeout.Infinite, Timeout.Infinite)

    /// Writes a pending mark. A disk that takes nothing leaves the mark behind, which is as good as a crash.
    member _.Write() =
        lock sync (fun () ->
            isDue <- false

            match latest with
            | ValueNone -> ()
            | ValueSome mark ->
                try
                    HighWaterMark.write journal mark
                    latest <- ValueNone
                with
                | :? IOException
                | :? UnauthorizedAccessException -> ())

    /// Sets the present durable end of the journal.
    member _.Set(mark: HighWaterMark) =
        lock sync (fun () ->
            latest <- ValueSome mark

            if not isDue then
                isDue <- true
                timer.Change(1_000, Timeout.Infinite) |> ignore)

    interface IDisposable with
        member writer.Dispose() =
            timer.Dispose()
            writer.Write()
