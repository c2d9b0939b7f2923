namespace FsScheduler.Journal

open System
open System.Globalization
open System.IO
open System.IO.Hashing
open System.Text
open System.Threading

/// Where a journal ended a moment ago, as a small file beside it says: a journal that ends earlier has lost something.
type EndMark = {
    /// The first event of its last batch.
    first: int64
    /// The number that follows the last batch.
    next: int64
    /// The sum of the last batch.
    sum: int64
    /// Whether the journal is flushed: if not, a machine that loses its power may lose the end of it.
    isFlushed: bool
}

type internal MarkFound =
    | Missing
    /// Torn, or from elsewhere.
    | Unreadable
    | Found of EndMark

module EndMark =

    let private title = "fs-scheduler journal mark 1"

    /// The mark of a journal: `journal.mark` beside `journal.db`.
    let pathOf (journal: string) : string =
        nonNull (Path.ChangeExtension(journal, ".mark"))

    let private sumOf (text: string) =
        XxHash3.HashToUInt64(ReadOnlySpan(Encoding.ASCII.GetBytes text))

    // Of one length whatever it says: it is written over the old one.
    let private print (mark: EndMark) =
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

    /// What the mark of a journal says.
    let internal read (journal: string) : MarkFound =
        try
            parse (File.ReadAllText(pathOf journal))
        with
        | :? FileNotFoundException
        | :? DirectoryNotFoundException -> Missing
        | :? IOException
        | :? UnauthorizedAccessException -> Unreadable

    /// <summary>Writes the mark of a journal, without a flush: less than a sector over the old one, which needs no room on a
    /// full disk and is never seen in part.</summary>
    /// <exception cref="T:System.IO.IOException">It cannot be written.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">It may not be written.</exception>
    let internal write (journal: string) (mark: EndMark) : unit =
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

/// <summary>Keeps the mark of a journal: at most a second behind, never ahead.</summary>
/// <param name="journal">The file of the journal.</param>
[<Sealed>]
type internal MarkWriter(journal: string) as this =
    let gate = obj ()
    let mutable latest: EndMark voption = ValueNone
    let mutable isDue = false

    let timer =
        new Timer((fun _ -> this.Write()), null, Timeout.Infinite, Timeout.Infinite)

    /// Writes what is not written yet. A disk that does not take it leaves the mark behind, which is as good as a crash.
    member _.Write() =
        lock gate (fun () ->
            isDue <- false

            match latest with
            | ValueNone -> ()
            | ValueSome mark ->
                try
                    EndMark.write journal mark
                    latest <- ValueNone
                with
                | :? IOException
                | :? UnauthorizedAccessException -> ())

    /// Where the journal ends now, durably.
    member _.Set(mark: EndMark) =
        lock gate (fun () ->
            latest <- ValueSome mark

            if not isDue then
                isDue <- true
                timer.Change(1_000, Timeout.Infinite) |> ignore)

    interface IDisposable with
        member writer.Dispose() =
            timer.Dispose()
            writer.Write()
