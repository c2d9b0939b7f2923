namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Journal

/// What is read of a submission that is in the journal alone.
type private Wanted =
    | Whole of Attempt
    | Reference of SessionId * Done

/// <summary>Reads what tasks were submitted with, where that is in the journal and not in memory: for those that are given
/// out, and for the references of those that ended before.</summary>
/// <param name="journal">Has it.</param>
/// <param name="reads">What is about to be read of it.</param>
/// <param name="send">Sends the end of a task to a client.</param>
[<Sealed>]
type SubmissionLoader(journal: IJournal, reads: PendingReads, send: Action<SessionId, Done>) =
    let batchMax = 256

    let wanted = Channel.CreateUnbounded<struct (Wanted * int64)>() // never more than slots, and cancelled tasks

    let post what number =
        wanted.Writer.TryWrite(struct (what, number)) |> ignore

    let read (attempt: Attempt) number =
        try
            Input.SubmissionLoaded(attempt, journal.ReadSubmission number)
        with :? IOException as error ->
            Input.Unreadable(attempt, error.Message)

    /// The task is over, and its number is told: no reason to end where the reference cannot be read.
    let refer session (outcome: Done) number =
        let known =
            try
                { outcome with ref = (journal.ReadSubmission number).Ref }
            with :? IOException ->
                outcome

        reads.End number
        send.Invoke(session, known)

    /// <param name="attempt">To be given out, or to be split.</param>
    /// <param name="number">The event that has its submission.</param>
    member _.Load(attempt: Attempt, number: int64) = post (Whole attempt) number

    /// <param name="session">Whoever waits for it.</param>
    /// <param name="outcome">How the task ended.</param>
    /// <param name="number">The event that has its submission.</param>
    member _.Refer(session: SessionId, outcome: Done, number: int64) =
        reads.Begin number
        post (Reference(session, outcome)) number

    /// <summary>Works until it is stopped.</summary>
    /// <param name="tell">Takes what the machine is to be told.</param>
    /// <param name="ct">Stops it.</param>
    member _.RunAsync(tell: Input[] -> Task, ct: CancellationToken) : Task =
        task {
            let inputs = List<Input>()
            let mutable next = Unchecked.defaultof<_>

            try
                while not ct.IsCancellationRequested do
                    let! _ = wanted.Reader.WaitToReadAsync ct

                    while inputs.Count < batchMax && wanted.Reader.TryRead(&next) do
                        match next with
                        | struct (Whole attempt, number) -> inputs.Add(read attempt number)
                        | struct (Reference(session, outcome), number) ->
                            refer session outcome number

                    let batch = inputs.ToArray()
                    inputs.Clear()

                    if batch.Length > 0 then
                        do! tell batch
            with :? OperationCanceledException ->
                ()
        }
