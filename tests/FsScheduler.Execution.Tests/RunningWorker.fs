/// A worker in this process.
module FsScheduler.Execution.Tests.RunningWorker

open System
open System.Threading
open System.Threading.Tasks
open FsScheduler.Execution
open FsScheduler.TestKit

let options address : WorkerOptions = {
    Worker.options with
        connect = address
        name = "w"
        slots = 4
}

/// A stage of one's own, from the bytes that it gives.
let functionOf (run: StageCall -> byte[]) =
    StageFunction(fun call -> Task.FromResult(ReadOnlyMemory(run call)))

/// A worker that runs, and how it is stopped.
type Running(options: WorkerOptions) =
    let stop = new CancellationTokenSource()
    let ending = Worker.runAsync options stop.Token
    member _.Stop() = stop.Cancel()
    member _.Ending = within ending

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            ValueTask(
                task {
                    stop.Cancel()
                    let! _ = within ending
                    ()
                }
                :> Task
            )
