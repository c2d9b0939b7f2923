namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core

/// <summary>Reads what tasks were submitted with, for those that are given out and not in memory.</summary>
/// <param name="journal">Has it.</param>
[<Sealed>]
type Recalls(journal: IJournal) =
    let batchMax = 256
    let attempts = Channel.CreateUnbounded<Attempt>() // never more of them than slots

    let read (attempt: Attempt) =
        try
            Input.Recalled(attempt, journal.ReadSubmission attempt.task)
        with :? IOException as error ->
            Input.Unreadable(attempt, error.Message)

    member _.Post(attempt: Attempt) =
        attempts.Writer.TryWrite attempt |> ignore

    /// <summary>Works until it is stopped.</summary>
    /// <param name="tell">Takes what the machine is to be told.</param>
    /// <param name="ct">Stops it.</param>
    member _.RunAsync(tell: Input[] -> Task, ct: CancellationToken) : Task =
        task {
            let inputs = List<Input>()
            let mutable attempt = Unchecked.defaultof<Attempt>

            try
                while not ct.IsCancellationRequested do
                    let! _ = attempts.Reader.WaitToReadAsync ct

                    while inputs.Count < batchMax && attempts.Reader.TryRead(&attempt) do
                        inputs.Add(read attempt)

                    let batch = inputs.ToArray()
                    inputs.Clear()
                    do! tell batch
            with :? OperationCanceledException ->
                ()
        }
