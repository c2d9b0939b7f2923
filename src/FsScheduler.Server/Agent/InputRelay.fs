namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine

/// <summary>Posts inputs for senders that must not wait: one batch at a time, of all that have come meanwhile. The
/// queue holds one input for each attempt at most, so no more than there are slots.</summary>
/// <param name="mailbox">Gets the inputs.</param>
[<Sealed>]
type InputRelay(mailbox: IMailbox) =
    let queue = Channel.CreateUnbounded<Input>()

    /// Queues an input; does not wait.
    member _.Tell(input: Input) = queue.Writer.TryWrite input |> ignore

    /// Posts inputs until it is cancelled.
    member _.RunAsync(ct: CancellationToken) : Task =
        task {
            let inputs = List<Input>()
            let mutable next = Unchecked.defaultof<Input>

            try
                while not ct.IsCancellationRequested do
                    let! _ = queue.Reader.WaitToReadAsync ct

                    while queue.Reader.TryRead &next do
                        inputs.Add next

                    let batch = inputs.ToArray()
                    inputs.Clear()
                    do! mailbox.PostAsync(batch, ct)
            with :? OperationCanceledException ->
                ()
        }
