namespace FsScheduler.TestKit

open System.Collections.Generic
open System.Threading.Tasks
open Microsoft.Extensions.Logging

/// Keeps what is logged, each message as a line.
type RecordingLog() =
    let lines = List<string>()
    member _.Lines = lock lines (fun () -> List.ofSeq lines)

    interface ILogger with
        member _.BeginScope _ = null
        member _.IsEnabled _ = true

        member _.Log(level, _, state, error, format) =
            lock lines (fun () -> lines.Add $"{level}: {format.Invoke(state, error)}")

/// Collects what comes from elsewhere, and lets a test wait for it.
type Collector<'T>() =
    let items = List<'T>()

    let waiting =
        List<struct ((IReadOnlyList<'T> -> bool) * TaskCompletionSource<'T list>)>()

    let serve () =
        for struct (enough, source) in waiting.ToArray() do
            if enough items then
                source.TrySetResult(List.ofSeq items) |> ignore

    member _.Add(item: 'T) =
        lock items (fun () ->
            items.Add item
            serve ())

    member _.Items = lock items (fun () -> List.ofSeq items)

    /// All items, once they are enough.
    member _.Until(enough: 'T list -> bool) : Task<'T list> =
        let source =
            TaskCompletionSource<'T list> TaskCreationOptions.RunContinuationsAsynchronously

        lock items (fun () ->
            waiting.Add(struct ((fun all -> enough (List.ofSeq all)), source))
            serve ())

        within source.Task
