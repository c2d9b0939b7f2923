namespace FsScheduler.Execution.Exec

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core

/// How long programs of `exec-lines` may be silent or idle.
type LineLimits = {
    /// The longest silence of a program that owes lines; then it is killed.
    silenceMax: TimeSpan
    /// The longest time that an idle program is kept.
    idleMax: TimeSpan
}

module LineLimits =

    let standard = { silenceMax = TimeSpan.FromMinutes 1.0; idleMax = TimeSpan.FromMinutes 1.0 }

/// <summary>The programs of `exec-lines`, which are reused for many payloads. Safe for any thread.</summary>
/// <param name="limits">When programs are ended.</param>
/// <param name="idlesMax">Idle programs of all stages together, at most.</param>
[<Sealed>]
type internal LineProcessPool(limits: LineLimits, idlesMax: int) =
    // The longest idle first.
    let idles = List<struct (string * LineProcess)>()
    let busy = HashSet<LineProcess>()
    let mutable isOver = false

    let endSoon (program: LineProcess) =
        Task.Run<unit>(fun () -> task { do! program.EndAsync() }) |> ignore

    /// Ends the program that has been idle longest.
    let removeFirst () =
        let struct (_, program) = idles[0]
        idles.RemoveAt 0
        endSoon program

    let check () =
        lock idles (fun () ->
            let isOld () =
                let struct (_, program) = idles[0]

                Environment.TickCount64 - program.IdleSince >
                    int64 limits.idleMax.TotalMilliseconds

            while idles.Count > 0 && isOld () do
                removeFirst ()

            for struct (stage, program) in idles.ToArray() do
                if not program.IsUsable then
                    idles.Remove(struct (stage, program)) |> ignore
                    program.Dispose()

            for program in busy do
                program.KillIfSilent limits.silenceMax)

    let period =
        TimeSpan.FromMilliseconds(
            (min limits.silenceMax limits.idleMax).TotalMilliseconds / 10.0 |> max 10.0
        )

    let timer = new Timer((fun _ -> check ()), null, period, period)

    /// An idle program of a stage, the latest first. Ends those that are unusable by now.
    let rec tryIdle (stage: string) =
        match idles.FindLastIndex(fun (struct (key, _)) -> key = stage) with
        | -1 -> ValueNone
        | index ->
            let struct (_, program) = idles[index]
            idles.RemoveAt index

            if program.IsUsable then
                ValueSome program
            else
                program.Dispose()
                tryIdle stage

    let giveBack stage (program: LineProcess) =
        lock idles (fun () ->
            busy.Remove program |> ignore

            if isOver || not program.IsUsable then
                program.Dispose()
            else
                program.IdleSince <- Environment.TickCount64
                idles.Add(struct (stage, program))

                if idles.Count > idlesMax then
                    removeFirst ())

    let drop (program: LineProcess) =
        lock idles (fun () -> busy.Remove program |> ignore)
        program.Dispose()

    let runOn stage (program: LineProcess) payload sink ct =
        task {
            program.Begin()
            lock idles (fun () -> busy.Add program |> ignore)
            let mutable isGood = false

            try
                let! isDone = program.RunAsync(payload, sink, limits.silenceMax, ct)
                isGood <- isDone
                return isDone
            finally
                if isGood then giveBack stage program else drop program
        }

    /// The number of idle programs.
    member _.IdleCount = lock idles (fun () -> idles.Count)

    /// <summary>Has a program of a stage process a payload: an idle one, or a new one.</summary>
    /// <param name="stage">The stage, as text.</param>
    /// <param name="start">Starts a program of that stage.</param>
    /// <param name="payload">See <c>LineProcess.RunAsync</c>, also for the other parameters and the exceptions.</param>
    /// <param name="sink">Gets the result.</param>
    /// <param name="ct">Kills the program.</param>
    member _.RunAsync
        (
            stage: string,
            start: unit -> LineProcess,
            payload: Content,
            sink: ResultSink,
            ct: CancellationToken
        ) : Task =
        task {
            ct.ThrowIfCancellationRequested()

            let! isDone =
                match lock idles (fun () -> tryIdle stage) with
                | ValueSome program -> runOn stage program payload sink ct
                | ValueNone -> Task.FromResult false

            // The idle program had ended after its last payload: a new one has no earlier payload.
            if not isDone then
                let! _ = runOn stage (start ()) payload sink ct
                ()
        }

    interface IDisposable with
        member _.Dispose() =
            timer.Dispose()

            lock idles (fun () ->
                isOver <- true

                for struct (_, program) in idles do
                    program.Dispose()

                idles.Clear()

                for program in busy do
                    program.Kill())
