namespace FsScheduler.Runtime

open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks

/// Loops that do the same work side by side.
module internal Loops =

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

            do! Task.WhenAll [ for loop in loops -> Task.Run(fun () -> run loop) ]
        }
