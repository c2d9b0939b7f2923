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
    | TakenOver of task: int64
    | Failed of task: int64 option * error: string

/// Told how the uploads go.
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

    /// The scheduler is away, or too busy.
    abstract Waiting: reason: string -> unit

/// What happens to an upload, or to the client.
type private UploadEvent =
    | Accepted of Upload * task: int64
    | Ended of Upload * Outcome
    | Broken of Upload * task: int64 option * exn
    /// How many tasks the workers hold at once.
    | Slots of int
    | Noticed of SchedulerNotice

/// What an upload is that was submitted and has not ended.
[<NoComparison; NoEquality>]
type private Underway = {
    started: DateTimeOffset
    /// The number of the task, once it is accepted.
    mutable task: int64 option
    mutable isCancelled: bool
}

/// <summary>Submits files, a bounded number at a time, and stores their results.</summary>
/// <param name="uploads">All of them.</param>
/// <param name="isWaiting">A file has ended with its result; else when it is accepted.</param>
/// <param name="halt">When to stop early.</param>
/// <param name="store">Puts a result into its place, and says where that is.</param>
/// <param name="report">Told of each that is accepted or has ended, once.</param>
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
    let underway = Dictionary<int, Underway>()
    // Bounded by the window; notices come one by one.
    let events = Channel.CreateUnbounded<UploadEvent>()
    let mutable failed = 0
    let mutable ended = 0
    let mutable left = 0
    // Reconnects since a file has ended, or since the scheduler said that it is too busy.
    let mutable returns = 0
    let mutable halted: HaltRule option = None
    // With a rule no more are on their way than workers have slots, so that there is something left to stop.
    let mutable window = if halt.IsSome then 1 else UploadRun.WindowMax

    let isOver () =
        toSubmit.Count = 0 && underway.Count = 0

    let isCancelling () =
        match halted with
        | Some rule -> rule.mode = HaltMode.Now
        | None -> false

    let tell event =
        if not (events.Writer.TryWrite event) then
            UploadRun.Discard event

    let finish (upload: Upload) (ending: UploadEnding) (received: int64) =
        let started =
            match underway.TryGetValue upload.number with
            | true, known -> known.started
            | _ -> DateTimeOffset.UtcNow

        underway.Remove upload.number |> ignore
        returns <- 0
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
                    tell (Accepted(upload, handle.Id))
                    let! outcome = handle.Completion
                    tell (Ended(upload, outcome))
                else
                    let! id = client.EnqueueAsync(upload.submission, ct)
                    tell (Accepted(upload, id))
            with error ->
                tell (Broken(upload, id, error))
        }

    let start (client: SchedulerClient) (upload: Upload) ct =
        let most = client.MaxPayload

        match Upload.troubleWith upload with
        | Some trouble -> finish upload (Failed(None, trouble)) 0L
        | None when upload.size > most ->
            let error =
                $"it has {upload.size} bytes, and the scheduler takes {most} at the most; its --max-payload says how many"

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

    /// Cancels what is on its way, as far as its number is known yet. What has ended meanwhile cannot be cancelled any more.
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
                    tell (Slots(status.Workers |> Seq.sumBy _.Slots))
                with
                | :? SchedulerException
                | :? ObjectDisposedException
                | :? OperationCanceledException -> () // submitting says so too
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

    /// Why an upload has no outcome.
    let breakOff (upload: Upload) (id: int64 option) (error: exn) =
        match error with
        | :? SubmissionRejectedException -> finish upload (Failed(None, error.Message)) 0L
        | :? AnswerNotStoredException as unstored ->
            finish upload (Failed(id, $"its result cannot be stored: {unstored.Reason}")) 0L
        | :? IOException
        | :? UnauthorizedAccessException ->
            let reason =
                match Upload.troubleWith upload with
                | Some trouble -> trouble
                | None -> $"it cannot be read: {error.Message}"

            finish upload (Failed(None, reason)) 0L
        | _ -> raise error

    let take client event ct =
        match event with
        | Accepted(upload, id) when isWaiting ->
            underway[upload.number].task <- Some id
            report.Accepted(upload, id)
        | Accepted(upload, id) -> finish upload (TakenOver id) 0L
        | Ended(upload, outcome) ->
            match outcome with
            | :? Outcome.Succeeded as succeeded -> storeResult upload succeeded
            | :? Outcome.Failed as failed ->
                finish upload (Failed(Some failed.TaskId, failed.Error)) 0L
            | :? Outcome.Cancelled as cancelled ->
                finish upload (Failed(Some cancelled.TaskId, "cancelled")) 0L
            // It was accepted, and is not taken again after a reconnect.
            | :? Outcome.Rejected as rejected -> finish upload (Failed(None, rejected.Message)) 0L
            | other -> invalidOp $"an outcome that is none of ours: {other}"
        | Broken(upload, id, error) -> breakOff upload id error
        | Slots slots -> window <- slots |> max 1 |> min UploadRun.WindowMax
        | Noticed(:? SchedulerNotice.Back) ->
            returns <- returns + 1

            if returns > UploadRun.ReturnsMax then
                raise (
                    SchedulerUnavailableException
                        "the scheduler goes as often as it comes back, and no file ends: its log says why"
                )

            // What was to be cancelled may be lost with the connection.
            for known in underway.Values do
                known.isCancelled <- false

            askForSlots client ct
        | Noticed(:? SchedulerNotice.Busy as busy) ->
            returns <- 0
            report.Waiting busy.Message
        | Noticed(:? SchedulerNotice.Refused as refused) -> raise (Refusal refused.Message)
        | Noticed notice -> report.Waiting notice.Message

    /// Not all of a thousand files are open at once.
    static member WindowMax = 64

    /// Reconnects after which a scheduler that finishes nothing in between is given up.
    static member ReturnsMax = 60

    /// A result that nobody takes is deleted.
    static member private Discard(event: UploadEvent) =
        match event with
        | Ended(_, (:? Outcome.Succeeded as succeeded)) -> succeeded.Result.Dispose()
        | _ -> ()

    /// What the client has to tell.
    member _.Hear(notice: SchedulerNotice) = tell (Noticed notice)

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

    /// Results that came and that nobody takes any more.
    member _.DiscardResults() =
        events.Writer.TryComplete() |> ignore // those that come later are deleted by who tells of them
        let mutable event = Unchecked.defaultof<UploadEvent>

        while events.Reader.TryRead &event do
            UploadRun.Discard event

    member _.Failed = failed

    /// Files that were not sent any more.
    member _.Left = left

    /// The rule that was met.
    member _.Halted = halted
