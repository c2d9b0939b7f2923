/// Runs all checks of a worker.
module FsScheduler.Conformance.Conformance

open System
open System.Diagnostics
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks

/// What a check has found.
type Finding = { check: Check; outcome: CheckOutcome; elapsed: TimeSpan }

/// All checks, in the order of their output.
let checks =
    BasicChecks.all
    @ FrameChecks.all
    @ TaskChecks.all
    @ LifetimeChecks.all
    @ ReconnectChecks.all

/// Most checks wait for seconds, and need no processor meanwhile.
let private checksAtOnce = 4

/// A check waits for a few messages, one after the other.
let private checkMax (examination: Examination) =
    TimeSpan.FromSeconds 30.0 + 4.0 * examination.patience

let private examine (examination: Examination) (ct: CancellationToken) (check: Check) =
    task {
        let started = Stopwatch.StartNew()
        use scheduler = new TestScheduler(examination)

        let! outcome =
            task {
                try
                    let limit = checkMax examination
                    do! (check.run scheduler).WaitAsync(limit, ct)
                    return Passed
                with
                | CheckFailed(expected, seen) ->
                    // The end of the process may explain the failure.
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
                | CheckNotApplicable reason -> return NotApplicable reason
                | :? TimeoutException ->
                    let limit = (checkMax examination).TotalSeconds
                    return Failed("the check to end", $"it had not ended after {limit} s")
                | :? SocketException as error -> return Failed("a connection", error.Message)
            }

        return { check = check; outcome = outcome; elapsed = started.Elapsed }
    }

let private isFailed (finding: Finding) =
    match finding.outcome with
    | Failed _ -> true
    | Passed
    | NotApplicable _ -> false

/// <summary>Runs the basic checks and, if they pass, the wanted checks.</summary>
/// <param name="examination">The worker, and the settings.</param>
/// <param name="wanted">Whether a check is wanted; the basic checks always run.</param>
/// <param name="ct">Ends the checks, and the processes of the worker.</param>
/// <returns>The findings of the basic and of the wanted checks, in the order of `checks`.</returns>
/// <exception cref="T:FsScheduler.Conformance.WorkerNotStarted">The worker cannot be started.</exception>
let run (examination: Examination) (wanted: Check -> bool) (ct: CancellationToken) =
    task {
        let findings = ResizeArray<Finding>()
        let mutable failed = None

        let skipped (needed: string) (check: Check) : Finding =
            let outcome = NotApplicable $"'{needed}' has failed"
            { check = check; outcome = outcome; elapsed = TimeSpan.Zero }

        for check in BasicChecks.all do
            match failed with
            | None ->
                let! finding = examine examination ct check
                findings.Add finding

                if isFailed finding then
                    failed <- Some check.id
            | Some needed -> findings.Add(skipped needed check)

        let others = checks |> List.skip BasicChecks.all.Length |> List.filter wanted
        use turns = new SemaphoreSlim(checksAtOnce)

        let! more =
            Task.WhenAll [
                for check in others ->
                    task {
                        match failed with
                        | Some needed -> return skipped needed check
                        | None ->
                            do! turns.WaitAsync ct

                            try
                                return! examine examination ct check
                            finally
                                turns.Release() |> ignore
                    }
            ]

        findings.AddRange more
        return List.ofSeq findings
    }
