namespace FsScheduler.Platform

open System
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks

/// Loops that do the same work side by side, or again and again.
module internal Loops =

    /// <summary>Does something again and again, with a while before each time.</summary>
    /// <param name="clock">Measures the whiles.</param>
    /// <param name="span">How long they are.</param>
    /// <param name="work">What is done; the next while begins behind it.</param>
    /// <param name="ct">Ends it, in good order.</param>
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

    /// <summary>Runs them until all have ended. One that fails stops the others: waiting for work, they would hide that it
    /// is gone.</summary>
    /// <param name="loops">Each ends in good order when its token is cancelled.</param>
    /// <param name="ct">Stops them.</param>
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

            // Beside each other; or where the caller has to run, one a turn.
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

    /// <summary>Faults when one of these does, with what ended it; never completes otherwise.</summary>
    /// <param name="parts">Each for as long as the whole.</param>
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
