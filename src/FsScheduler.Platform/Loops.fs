namespace FsScheduler.Platform

open System
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks

/// Periodic and parallel loops.
module internal Loops =

    /// <summary>Runs work periodically.</summary>
    /// <param name="clock">Measures the period.</param>
    /// <param name="span">The period, also before the first run.</param>
    /// <param name="work">The work.</param>
    /// <param name="ct">Ends the loop without an exception.</param>
    let everyAsync
        (clock: Clock)
        (span: TimeSpan)
        (work: unit -> unit)
        (ct: CancellationToken)
        : Task =
        task {
            use timer = new PeriodicTimer(span, clock.Provider)

            try
                while not ct.IsCancellationRequested do
                    let! _ = timer.WaitForNextTickAsync ct
                    work ()
            with :? OperationCanceledException ->
                ()
        }

    /// <summary>Runs loops until all have ended. One that fails cancels the others, which would otherwise wait and hide
    /// that it is gone.</summary>
    /// <param name="loops">Each ends without an exception when its token is cancelled.</param>
    /// <param name="ct">Cancels all loops.</param>
    let runAsync (loops: (CancellationToken -> Task) list) (ct: CancellationToken) : Task =
        task {
            use stop = CancellationTokenSource.CreateLinkedTokenSource ct

            let run (loop: CancellationToken -> Task) : Task =
                task {
                    try
                        do! loop stop.Token
                    with error ->
                        stop.Cancel()
                        ExceptionDispatchInfo.Throw error
                }

            // In parallel, or in turn where the caller's context wants that.
            let place =
                if isNull SynchronizationContext.Current then
                    TaskScheduler.Default
                else
                    TaskScheduler.FromCurrentSynchronizationContext()

            do!
                Task.WhenAll [
                    for loop in loops ->
                        Task.Factory
                            .StartNew<Task>(
                                (fun () -> run loop),
                                CancellationToken.None,
                                TaskCreationOptions.DenyChildAttach,
                                place
                            )
                            .Unwrap()
                ]
        }

    /// <summary>Faults when the first of these tasks does, with its exceptions; never completes otherwise.</summary>
    /// <param name="parts">Tasks that run for as long as the caller.</param>
    let firstFailure (parts: Task list) : Task =
        let failing =
            TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

        for part in parts do
            part.ContinueWith(
                (fun (part: Task) ->
                    if part.IsFaulted then
                        failing.TrySetException((nonNull part.Exception).InnerExceptions) |> ignore),
                TaskScheduler.Default
            )
            |> ignore

        failing.Task
