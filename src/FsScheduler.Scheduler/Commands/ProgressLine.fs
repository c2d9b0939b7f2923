namespace FsScheduler.Scheduler

open System
open System.Diagnostics
open System.Globalization
open FsScheduler.Platform

/// The progress of a `submit` on standard error: in a terminal one line that is drawn again, for more than one file or with
/// `--eta`; elsewhere, with `--eta`, a line a second. Other output during that time is written by `Around`, so that it
/// does not mix with the line.
[<Sealed>]
type ProgressLine(total: int, isBar: bool, isEta: bool) =
    let clock = Stopwatch.StartNew()
    let isDrawn = Terminal.isError () && (isBar && total > 1 || isEta && total > 0)
    let isPrinted = isEta && not (Terminal.isError ())
    let mutable shown = false
    let mutable printedAt = TimeSpan.FromSeconds -1.0
    let mutable drawnAt = TimeSpan.FromSeconds -1.0
    let mutable ended = 0

    let clear () =
        if shown then
            eprintf "\r%s\r" (String(' ', max 0 (Terminal.width () - 1)))
            shown <- false

    /// The remaining time, in the format of GNU parallel.
    let eta () =
        let left = total - ended

        let average =
            if ended = 0 then
                0.0
            else
                clock.Elapsed.TotalSeconds / float ended

        String.Format(
            CultureInfo.InvariantCulture,
            "ETA: {0:F0}s Left: {1} AVG: {2:F2}s",
            average * float left,
            left,
            average
        )

    let draw () =
        let width = Terminal.width () - 1
        let numbers = $" {ended}/{total} {100L * int64 ended / int64 total}%%"

        let text =
            match isBar, isEta with
            | true, true -> $"{numbers}  {eta ()}"
            | true, false -> numbers
            | false, _ -> eta ()

        let room = width - text.Length - 2

        let bar =
            if room < 10 || not isBar then
                ""
            else
                let size = min 40 room
                let full = int (int64 size * int64 ended / int64 total)
                $"[{String('#', full)}{String('.', size - full)}]"

        eprintf "\r%s" (Columns.cut width (bar + text))
        shown <- true

    let redraw isForced =
        if
            isDrawn
            && (isForced || clock.Elapsed - drawnAt >= TimeSpan.FromMilliseconds 100.0)
        then
            drawnAt <- clock.Elapsed
            draw ()

    let printEta () =
        if
            isPrinted
            && (clock.Elapsed - printedAt >= TimeSpan.FromSeconds 1.0 || ended = total)
        then
            printedAt <- clock.Elapsed
            eprintfn "%s" (eta ())

    /// Shows that so many files have ended.
    member _.Show(count: int) =
        ended <- count
        redraw (count = total)
        printEta ()

    /// Writes whole lines, to either output, in place of the progress line.
    member _.Around(write: unit -> unit) =
        clear ()
        write ()
        redraw false

    interface IDisposable with
        member _.Dispose() = clear ()
