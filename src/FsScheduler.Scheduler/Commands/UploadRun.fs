namespace FsScheduler.Scheduler

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Cli
open FsScheduler.Sdk

/// How an upload ended.
type UploadEnding =
    | Stored of task: int64 * path: string
    /// Accepted, by a `submit` that does not wait for the result.
    | Enqueued of task: int64
    | Failed of task: int64 option * error: string

/// Called when something happens to an upload.
type IUploadReport =
    abstract Accepted: Upload * task: int64 -> unit

    abstract Ended:
        count: int *
        Upload *
        UploadEnding *
        started: DateTimeOffset *
        received: int64 *
        isCancelled: bool ->
            unit

    abstract Halted: HaltRule * left: int * underway: int -> unit

    /// The scheduler has gone, or is too busy.
    abstract Waiting: reason: string -> unit

/// An event of an upload, or of the client.
type private UploadEvent =
    | Accepted of Upload * task: int64
    | Ended of Upload * Outcome
    /// The upload has no outcome.
    | Faulted of Upload * task: int64 option * exn
    /// The number of tasks that the workers hold at once, at most.
    | Slots of int
    | Noticed of SchedulerNotice

/// An upload that was submitted and has not ended.
[<NoComparison; NoEquality>]
type private PendingUpload = {
    started: DateTimeOffset
    /// The number of the task, once it is accepted.
    mutable task: int64 option
    mutable isCancelled: bool
}

/// <summary>Submits files, a bounded number at a time, and stores their results.</summary>
/// <param name="uploads">The files.</param>
/// <param name="isWaiting">Whether a file ends with its result; otherwise it ends when it is accepted.</param>
/// <param name="halt">When to stop early.</param>
/// <param name="store">Stores a result, and returns its path.</param>
/// <param name="report">Called once for each file that is accepted, and once for each that has ended.</param>
[<Sealed>]
type UploadRun
    (
        uploads: Upload list,
        isWaiting: bool,
        halt: HaltRule option,
        store: Upload -> TaskResult -> string,
        report: IUploadReport
    ) =
    let total = uploads.Length
    let toSubmit = Queue uploads
    let underway = Dictionary<int, PendingUpload>()
    // Few: those of the files in the window, and notices, which come one at a time.
    let events = Channel.CreateUnbounded<UploadEvent>()
    let mutable failed = 0
    let mutable ended = 0
    let mutable left = 0
    // Reconnections since a file has ended.
    let mutable reconnections = 0
    let mutable halted: HaltRule option = None
    // With a rule, no more files are on their way than workers have slots, so that there are files left to stop.
    let mutable window = if halt.IsSome then 1 else UploadRun.WindowMax

    let isOver () =
        toSubmit.Count = 0 && underway.Count = 0

    let isCancelling () =
        match halted with
        | Some rule -> rule.mode = HaltMode.Now
        | None -> false

    let post event =
        if not (events.Writer.TryWrite event) then
            UploadRun.Discard event

    let finish (upload: Upload) (ending: UploadEnding) (received: int64) =
        let started =
            match underway.TryGetValue upload.number with
            | true, known -> known.started
            | _ -> DateTimeOffset.UtcNow

        underway.Remove upload.number |> ignore
        reconnections <- 0
        ended <- ended + 1
        failed <- failed + (if ending.IsFailed then 1 else 0)
        report.Ended(ended, upload, ending, started, received, isCancelling () && ending.IsFailed)

        match halt with
        | Some rule when
            halted.IsNone
            && HaltRule.isMet total (ended - failed) failed rule
            && not (isOver ())
            ->
            halted <- Some rule
            left <- toSubmit.Count
            toSubmit.Clear()
            report.Halted(rule, left, underway.Count)
        | _ -> ()

    let submit (client: SchedulerClient) (upload: Upload) (ct: CancellationToken) =
        task {
            let mutable id = None

            try
                if isWaiting then
                    let! handle = client.SubmitAsync(upload.submission, ct)
                    id <- Some handle.Id
                    post (Accepted(upload, handle.Id))
                    let! outcome = handle.Completion
                    post (Ended(upload, outcome))
                else
                    let! id = client.EnqueueAsync(upload.submission, ct)
                    post (Accepted(upload, id))
            with error ->
                post (Faulted(upload, id, error))
        }

    let start (client: SchedulerClient) (upload: Upload) ct =
        let most = client.MaxPayload

        match Upload.failureOf upload with
        | Some failure -> finish upload (Failed(None, failure)) 0L
        | None when upload.size > most ->
            let error =
                $"it has {upload.size} bytes, and the scheduler takes at most {most}; see --max-payload of the scheduler"

            finish upload (Failed(None, error)) 0L
        | None ->
            underway[upload.number] <- {
                started = DateTimeOffset.UtcNow
                task = None
                isCancelled = false
            }

            submit client upload ct |> ignore

    let startMore client ct =
        while toSubmit.Count > 0 && underway.Count < window do
            start client (toSubmit.Dequeue()) ct

    /// Cancels the files on their way whose task numbers are known. Those that have ended meanwhile are not affected.
    let cancelKnown (client: SchedulerClient) ct =
        if isCancelling () then
            let ids = [
                for known in underway.Values do
                    match known.task with
                    | Some id when not known.isCancelled ->
                        known.isCancelled <- true
                        id
                    | _ -> ()
            ]

            if not ids.IsEmpty then
                client.CancelAsync(ids, ct) |> ignore

    let askForSlots (client: SchedulerClient) ct =
        let ask () : Task =
            task {
                try
                    let! status = client.GetStatusAsync ct
                    post (Slots(status.Workers |> Seq.sumBy _.Slots))
                with
                | :? SchedulerException
                | :? ObjectDisposedException
                | :? OperationCanceledException -> () // the submissions fail too
            }

        if halt.IsSome then
            ask () |> ignore

    let storeResult (upload: Upload) (outcome: Outcome.Succeeded) =
        use result = outcome.Result

        let ending =
            try
                Stored(outcome.TaskId, store upload result)
            with
            | :? IOException
            | :? UnauthorizedAccessException as error ->
                Failed(Some outcome.TaskId, $"its result cannot be stored: {error.Message}")

        finish upload ending result.Length

    /// Ends an upload that has no outcome.
    let fail (upload: Upload) (id: int64 option) (error: exn) =
        match error with
        | :? SubmissionRejectedException -> finish upload (Failed(None, error.Message)) 0L
        | :? AnswerNotStoredException as unstored ->
            finish upload (Failed(id, $"its result cannot be stored: {unstored.Reason}")) 0L
        | :? IOException
        | :? UnauthorizedAccessException ->
            let reason =
                match Upload.failureOf upload with
                | Some failure -> failure
                | None -> $"it cannot be read: {error.Message}"

            finish upload (Failed(None, reason)) 0L
        | _ -> raise error

    let take client event ct =
        match event with
        | Accepted(upload, id) when isWaiting ->
            underway[upload.number].task <- Some id
            report.Accepted(upload, id)
        | Accepted(upload, id) -> finish upload (Enqueued id) 0L
        | Ended(upload, outcome) ->
            match outcome with
            | :? Outcome.Succeeded as succeeded -> storeResult upload succeeded
            | :? Outcome.Failed as failed ->
                finish upload (Failed(Some failed.TaskId, failed.Error)) 0L
            | :? Outcome.Cancelled as cancelled ->
                finish upload (Failed(Some cancelled.TaskId, "cancelled")) 0L
            // The task was accepted, and was refused when it was submitted again after a reconnection.
            | :? Outcome.Rejected as rejected -> finish upload (Failed(None, rejected.Message)) 0L
            | other -> invalidOp $"an outcome of an unknown kind: {other}"
        | Faulted(upload, id, error) -> fail upload id error
        | Slots slots -> window <- slots |> max 1 |> min UploadRun.WindowMax
        | Noticed(:? SchedulerNotice.Back) ->
            reconnections <- reconnections + 1

            if reconnections > UploadRun.ReconnectionsMax then
                raise (
                    SchedulerUnavailableException
                        $"the scheduler was lost {UploadRun.ReconnectionsMax} times, and no file has ended; see its log"
                )

            // The commands to cancel may be lost with the connection.
            for known in underway.Values do
                known.isCancelled <- false

            askForSlots client ct
        | Noticed(:? SchedulerNotice.Refused as refused) -> raise (Refusal refused.Message)
        | Noticed notice -> report.Waiting notice.Message

    /// The most files on their way, each of which is open.
    static member WindowMax = 64

    /// The most reconnections in a row without a file that has ended in between.
    static member ReconnectionsMax = 60

    /// Deletes the result of an event that is not taken.
    static member private Discard(event: UploadEvent) =
        match event with
        | Ended(_, (:? Outcome.Succeeded as succeeded)) -> succeeded.Result.Dispose()
        | _ -> ()

    /// Takes a notice of the client.
    member _.Notify(notice: SchedulerNotice) = post (Noticed notice)

    /// <summary>Submits everything, until the last file has ended.</summary>
    /// <exception cref="T:FsScheduler.Sdk.SchedulerException">The scheduler stays away, or refuses this client.</exception>
    member _.RunAsync(client: SchedulerClient, ct: CancellationToken) : Task =
        task {
            askForSlots client ct

            while not (isOver ()) do
                startMore client ct
                cancelKnown client ct

                if not (isOver ()) then
                    let! event = events.Reader.ReadAsync ct
                    take client event ct
        }

    /// Deletes results that have come and are not taken any more.
    member _.DiscardResults() =
        events.Writer.TryComplete() |> ignore // later results are deleted when they are posted
        let mutable event = Unchecked.defaultof<UploadEvent>

        while events.Reader.TryRead &event do
            UploadRun.Discard event

    member _.Failed = failed

    /// The number of files that were not sent because of the rule.
    member _.Left = left

    /// The rule, once it is met.
    member _.Halted = halted
