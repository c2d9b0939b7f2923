namespace FsScheduler.Journal

open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks

/// Does the reading of a sequence on another thread, while what was read is used.
module internal ReadAhead =

    /// <summary>The same sequence, of which some is there before it is asked for.</summary>
    /// <param name="most">How many items wait, at the most.</param>
    /// <param name="items">Enumerated by one other thread. What it throws is thrown where the item would be.</param>
    let ofSeq (most: int) (items: seq<'T>) : seq<'T> =
        seq {
            use over = new CancellationTokenSource()
            use ready = new BlockingCollection<'T>(most)

            let read () =
                try
                    try
                        for item in items do
                            ready.Add(item, over.Token)
                    finally
                        ready.CompleteAdding()
                with :? System.OperationCanceledException when over.IsCancellationRequested ->
                    ()

            let reading = Task.Factory.StartNew(read, TaskCreationOptions.LongRunning)

            try
                yield! ready.GetConsumingEnumerable()
                reading.GetAwaiter().GetResult() // what the other thread has thrown
            finally
                over.Cancel()
                Task.WhenAny(reading).Wait()
        }
