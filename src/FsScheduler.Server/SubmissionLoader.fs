namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal

/// Why a submission is read from the journal.
type private Wanted =
    | Whole of Attempt
    | Reference of SessionId * Done

/// <summary>Reads submissions that are in the journal and not in memory: of tasks to be dispatched, and for the
/// references of tasks that ended before.</summary>
/// <param name="journal">Holds the submissions.</param>
/// <param name="reads">Counts the reads of the journal.</param>
/// <param name="send">Sends the outcome of a task to a client.</param>
[<Sealed>]
type SubmissionLoader(journal: IJournal, reads: PendingReads, send: Action<SessionId, Done>) =
    let batchMax = 256

    let wanted = Channel.CreateUnbounded<struct (Wanted * int64)>() // at most one for each slot and cancelled task

    let post what number =
        wanted.Writer.TryWrite(struct (what, number)) |> ignore

    let read (attempt: Attempt) number =
        try
            Input.SubmissionLoaded(attempt, journal.ReadSubmission number)
        with :? IOException as error ->
            Input.Unreadable(attempt, error.Message)

    /// The outcome is sent even if the reference cannot be read, since the client knows the task by its number.
    let refer session (outcome: Done) number =
        let known =
            try
                { outcome with ref = (journal.ReadSubmission number).Ref }
            with :? IOException ->
                outcome

        reads.End number
        send.Invoke(session, known)

    /// <param name="attempt">The attempt to be dispatched or split.</param>
    /// <param name="number">The event that holds the submission.</param>
    member _.Load(attempt: Attempt, number: int64) = post (Whole attempt) number

    /// <param name="session">The session of the waiting client.</param>
    /// <param name="outcome">How the task ended.</param>
    /// <param name="number">The event that holds the submission.</param>
    member _.Refer(session: SessionId, outcome: Done, number: int64) =
        reads.Begin number
        post (Reference(session, outcome)) number

    /// <summary>Works until it is stopped.</summary>
    /// <param name="report">Posts inputs of the machine.</param>
    /// <param name="ct">Stops the work.</param>
    member _.RunAsync(report: Input[] -> Task, ct: CancellationToken) : Task =
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
                        do! report batch
            with :? OperationCanceledException ->
                ()
        }
