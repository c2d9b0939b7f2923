/// All rows, and how a worker does in them.
module FsScheduler.Conformance.Conformance

open System
open System.Diagnostics
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks

/// How a worker did in one row, and how long that took.
type Finding = { row: Check; verdict: Verdict; elapsed: TimeSpan }

let rows =
    BasicChecks.all
    @ FrameChecks.all
    @ TaskChecks.all
    @ LifetimeChecks.all
    @ ReconnectChecks.all

/// Rows that wait do so for seconds; those that work share the processors.
let private rowsAtOnce = 4

/// No row waits for more than a few things, one after the other.
let private rowMax (examination: Examination) =
    TimeSpan.FromSeconds 30.0 + 4.0 * examination.patience

let private examine (examination: Examination) (ct: CancellationToken) (row: Check) =
    task {
        let started = Stopwatch.StartNew()
        use rig = new TestScheduler(examination)

        let! verdict =
            task {
                try
                    let limit = rowMax examination
                    do! (row.run rig).WaitAsync(limit, ct)
                    return Passed
                with
                | Unfit(expected, seen) ->
                    // It explains much: that it has ended, and why.
                    let state = if rig.Ended.IsCompleted then $"; {rig.State}" else ""

                    return
                        Failed(expected, (if seen.Contains rig.State then seen else seen + state))
                | Inapplicable reason -> return NotApplicable reason
                | :? TimeoutException ->
                    let limit = (rowMax examination).TotalSeconds
                    return Failed("the row to end", $"it had not ended after {limit} s")
                | :? SocketException as error -> return Failed("a connection", error.Message)
            }

        return { row = row; verdict = verdict; elapsed = started.Elapsed }
    }

let private isFailed (finding: Finding) =
    match finding.verdict with
    | Failed _ -> true
    | Passed
    | NotApplicable _ -> false

/// <summary>Examines a worker: first the basic rows, and, if it passes these, those that are wanted.</summary>
/// <param name="examination">The worker.</param>
/// <param name="wanted">Whether a row is wanted; the basic ones always are.</param>
/// <param name="ct">Ends it, and the processes that it has started.</param>
/// <returns>A finding for each basic row and each row that is wanted, in the order of `rows`.</returns>
/// <exception cref="T:FsScheduler.Conformance.Unstartable">The worker cannot be started.</exception>
let run (examination: Examination) (wanted: Check -> bool) (ct: CancellationToken) =
    task {
        let findings = ResizeArray<Finding>()
        let mutable failed = None

        for row in BasicChecks.all do
            match failed with
            | None ->
                let! finding = examine examination ct row
                findings.Add finding

                if isFailed finding then
                    failed <- Some row.id
            | Some needed ->
                let verdict = NotApplicable $"it needs '{needed}'"
                findings.Add { row = row; verdict = verdict; elapsed = TimeSpan.Zero }

        let others = rows |> List.skip BasicChecks.all.Length |> List.filter wanted
        use turns = new SemaphoreSlim(rowsAtOnce)

        let! more =
            Task.WhenAll [
                for row in others ->
                    task {
                        match failed with
                        | Some needed ->
                            let verdict = NotApplicable $"it needs '{needed}'"
                            return { row = row; verdict = verdict; elapsed = TimeSpan.Zero }
                        | None ->
                            do! turns.WaitAsync ct

                            try
                                return! examine examination ct row
                            finally
                                turns.Release() |> ignore
                    }
            ]

        findings.AddRange more
        return List.ofSeq findings
    }
