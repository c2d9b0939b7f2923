namespace FsScheduler.Scheduler

open System
open System.Globalization
open System.IO
open System.Text
open FsScheduler.Platform

/// A line of `--joblog`.
type JobLine = {
    /// The number of the file, from 1.
    number: int
    file: string
    started: DateTimeOffset
    took: TimeSpan
    /// Bytes of the file.
    sent: int64
    /// Bytes of the result.
    received: int64
    isFailed: bool
    /// Cancelled by `--halt`.
    isCancelled: bool
}

/// <summary>The file of `--joblog`: a line for each submitted file that has ended, in the columns of GNU parallel, with a
/// TAB between them. Lines are written at once, so that an interrupted run leaves a log of what was done.</summary>
/// <param name="path">The path of the log; with a `+` in front, lines are added to an old log.</param>
/// <param name="host">The address of the scheduler, for the column Host.</param>
/// <exception cref="T:System.IO.IOException">The log cannot be written.</exception>
[<Sealed>]
type JobLog(path: string, host: string) =
    static let pathOf (path: string) =
        if path.StartsWith '+' then path.Substring 1 else path

    let isAdded = path.StartsWith '+'

    let file =
        new FileStream(
            pathOf path,
            (if isAdded then FileMode.Append else FileMode.Create),
            FileAccess.Write,
            FileShare.ReadWrite
        )

    let writer = new StreamWriter(file, UTF8Encoding false, AutoFlush = true)

    do
        if file.Position = 0L then
            writer.Write
                "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"

    let seconds (value: float) =
        value.ToString("F3", CultureInfo.InvariantCulture).PadLeft 10

    /// <summary>Whether a job log would overwrite a file, or be added to it.</summary>
    /// <param name="path">The value of `--joblog`.</param>
    /// <param name="file">The path of the file.</param>
    static member IsOver(path: string, file: string) : bool =
        Path.GetFullPath(pathOf path) = Path.GetFullPath file

    member _.Add(line: JobLine) =
        let started = float (line.started.ToUnixTimeMilliseconds()) / 1000.0
        let exit = if line.isFailed then 1 else 0
        let signal = if line.isCancelled then 15 else 0

        writer.Write
            $"{line.number}\t{host}\t{seconds started}\t{seconds line.took.TotalSeconds}\t{line.sent}\t{line.received}\t{exit}\t{signal}\t{Terminal.printable line.file}\n"

    interface IDisposable with
        member _.Dispose() = writer.Dispose()
