namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core

/// <summary>Takes to the machine what those have to say who cannot wait: one batch at a time, whatever has come until it was
/// taken. Each says one thing of an attempt, and there are no more of those than slots.</summary>
/// <param name="mailbox">Has the machine.</param>
[<Sealed>]
type InputRelay(mailbox: IMailbox) =
    let told = Channel.CreateUnbounded<Input>()

    /// Does not wait.
    member _.Tell(input: Input) = told.Writer.TryWrite input |> ignore

    /// Works until it is stopped.
    member _.RunAsync(ct: CancellationToken) : Task =
        task {
            let inputs = List<Input>()
            let mutable next = Unchecked.defaultof<Input>

            try
                while not ct.IsCancellationRequested do
                    let! _ = told.Reader.WaitToReadAsync ct

                    while told.Reader.TryRead &next do
                        inputs.Add next

                    let batch = inputs.ToArray()
                    inputs.Clear()
                    do! mailbox.PostAsync(batch, ct)
            with :? OperationCanceledException ->
                ()
        }
