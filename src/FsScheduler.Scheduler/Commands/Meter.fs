namespace FsScheduler.Scheduler

open System
open System.Diagnostics
open System.Globalization
open FsScheduler.Platform

/// How far a `submit` is, on standard error: one line that is drawn again in a terminal, for more than one file or with
/// `--eta`, and with that a line a second elsewhere. Whoever writes a line of its own does it through the meter, so that the two never share one.
[<Sealed>]
type Meter(total: int, isBar: bool, isEta: bool) =
    let clock = Stopwatch.StartNew()
    let isDrawn = Terminal.isError () && (isBar && total > 1 || isEta && total > 0)
    let isTold = isEta && not (Terminal.isError ())
    let mutable shown = false
    let mutable toldAt = TimeSpan.FromSeconds -1.0
    let mutable drawnAt = TimeSpan.FromSeconds -1.0
    let mutable ended = 0

    let clear () =
        if shown then
            eprintf "\r%s\r" (String(' ', max 0 (Terminal.width () - 1)))
            shown <- false

    /// In the words of GNU parallel.
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

    let tell () =
        if isTold && (clock.Elapsed - toldAt >= TimeSpan.FromSeconds 1.0 || ended = total) then
            toldAt <- clock.Elapsed
            eprintfn "%s" (eta ())

    /// So many have ended.
    member _.Show(count: int) =
        ended <- count
        redraw (count = total)
        tell ()

    /// Lets somebody write a whole line, to either output.
    member _.Around(write: unit -> unit) =
        clear ()
        write ()
        redraw false

    interface IDisposable with
        member _.Dispose() = clear ()
