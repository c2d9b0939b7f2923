namespace FsScheduler.Journal

open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks

/// Reads a sequence on another thread, ahead of its consumer.
module internal ReadAhead =

    /// <summary>The same sequence, read ahead.</summary>
    /// <param name="most">The most items to read ahead.</param>
    /// <param name="items">Enumerated by one other thread. An exception of it is raised in place of the item.</param>
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
                reading.GetAwaiter().GetResult() // raises the exception of the other thread
            finally
                over.Cancel()
                Task.WhenAny(reading).Wait()
        }
