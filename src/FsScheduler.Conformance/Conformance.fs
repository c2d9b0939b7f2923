/// Runs all checks of a worker.
module FsScheduler.Conformance.Conformance

open System
open System.Diagnostics
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks

type Finding = { row: Check; outcome: CheckOutcome; elapsed: TimeSpan }

let rows =
    BasicChecks.all
    @ FrameChecks.all
    @ TaskChecks.all
    @ LifetimeChecks.all
    @ ReconnectChecks.all

/// Checks that wait do so for seconds; those that compute share the processors.
let private rowsAtOnce = 4

/// No check waits for more than a few messages, one after the other.
let private rowMax (examination: Examination) =
    TimeSpan.FromSeconds 30.0 + 4.0 * examination.patience

let private examine (examination: Examination) (ct: CancellationToken) (row: Check) =
    task {
        let started = Stopwatch.StartNew()
        use scheduler = new TestScheduler(examination)

        let! outcome =
            task {
                try
                    let limit = rowMax examination
                    do! (row.run scheduler).WaitAsync(limit, ct)
                    return Passed
                with
                | Unfit(expected, seen) ->
                    // An ended process explains much.
                    let state =
                        if scheduler.Ended.IsCompleted then
                            $"; {scheduler.State}"
                        else
                            ""

                    return
                        Failed(
                            expected,
                            (if seen.Contains scheduler.State then seen else seen + state)
                        )
                | Inapplicable reason -> return NotApplicable reason
                | :? TimeoutException ->
                    let limit = (rowMax examination).TotalSeconds
                    return Failed("the row to end", $"it had not ended after {limit} s")
                | :? SocketException as error -> return Failed("a connection", error.Message)
            }

        return { row = row; outcome = outcome; elapsed = started.Elapsed }
    }

let private isFailed (finding: Finding) =
    match finding.outcome with
    | Failed _ -> true
    | Passed
    | NotApplicable _ -> false

/// <summary>Checks a worker: first the basic checks and, if they pass, those that are wanted.</summary>
/// <param name="examination">The worker.</param>
/// <param name="wanted">Whether a check is wanted; the basic ones always run.</param>
/// <param name="ct">Ends the checks, and the processes of the worker.</param>
/// <returns>The outcome of each basic check and of each wanted check, in the order of `rows`.</returns>
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
                let outcome = NotApplicable $"it needs '{needed}'"
                findings.Add { row = row; outcome = outcome; elapsed = TimeSpan.Zero }

        let others = rows |> List.skip BasicChecks.all.Length |> List.filter wanted
        use turns = new SemaphoreSlim(rowsAtOnce)

        let! more =
            Task.WhenAll [
                for row in others ->
                    task {
                        match failed with
                        | Some needed ->
                            let outcome = NotApplicable $"it needs '{needed}'"
                            return { row = row; outcome = outcome; elapsed = TimeSpan.Zero }
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
