namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine

[<RequireQualifiedAccess>]
type Ending =
    | Completed
    | Cancelled

/// What the observer knows of the pieces of a payload.
[<Sealed>]
type PieceRecord(cuts: Size[], last: int, stages: string[]) =
    member _.Cuts = cuts

    /// What is run on them.
    member _.Stages = stages
    member _.Last = last

    member _.StartOf(index: int) : Size =
        if index = 0 then 0L<B> else cuts[index - 1]

    /// The parts that are there.
    member val Parts: Payload voption[] = Array.create cuts.Length ValueNone
    member val Contents: string[] = Array.create cuts.Length ""

    /// The tasks that are to give each part.
    member val Tasks: HashSet<TaskId>[] = Array.init cuts.Length (fun _ -> HashSet())

    member record.IsWhole = record.Parts |> Array.forall _.IsSome

/// What the observer knows of a task, from events alone.
[<Sealed>]
type TaskRecord(id: TaskId, submission: Submission, pipeline: Pipeline, origin: string) =
    member _.Id = id
    member _.Submission = submission
    member val Pipeline = pipeline with get, set

    /// What it was submitted with.
    member _.Origin = origin

    /// What the stages done so far must have made of it.
    member val Content = origin with get, set

    /// What its latest successful attempt has made of that.
    member val Result = "" with get, set

    /// The payload of its next stage, or its result where a client gets it.
    member val Payload = submission.Payload with get, set
    member val Attempt = 0 with get, set
    member val Range = struct (0, 0) with get, set
    member val Stage = 0 with get, set

    member val Session = 0L<sessionId> with get, set
    member val IsRunning = false with get, set
    member val IsPublishing = false with get, set

    /// It was asked where its pieces end, which is no event.
    member val IsCutting = false with get, set
    member val IsSplit = false with get, set

    /// From the first Split until what its parts give counts.
    member val Pieces: PieceRecord voption = ValueNone with get, set

    /// The attempt whose parts were asked for together last.
    member val Joining = 0 with get, set

    /// How many parts have been asked to be put one behind the other already.
    member val Gathered = 0 with get, set
    member val IsQuarantined = false with get, set
    member val Ending: Ending voption = ValueNone with get, set
    member val Failures = 0 with get, set

    /// The workers that failed it or could not run it, and were to blame, one for each time.
    member val Blamed = List<string>()
    member val Losses = 0 with get, set
    member val NotBefore = Instant.zero with get, set
    member val QueuedSince = Instant.zero with get, set

    /// How often it came to an end, quarantine included; and how often that is durable.
    member val Ends = 0 with get, set
    member val DurableEnds = 0 with get, set
    member val DurableAttempt = 0 with get, set
    member val DurableAccepted = 0 with get, set

    /// With the attempt that they were for. Cleared when a stage is done.
    member val DurableParts = HashSet<struct (int * int)>()
    member val IsDurable = false with get, set

    /// What it becomes when this attempt succeeds.
    member task.Expected =
        let struct (first, last) = task.Range

        Content.run
            task.Pipeline.wire[first .. last - 1]
            { task = task.Id; number = task.Attempt }
            task.Content

    /// The task that it is a piece of, and which one.
    member _.Whole: struct (TaskId * int) voption =
        match submission.Origin with
        | Origin.Piece(whole, index) -> ValueSome struct (whole, index)
        | Origin.Folder
        | Origin.Client _ -> ValueNone

/// What the observer knows of a worker's session.
[<Sealed>]
type SessionRecord(stages: string[]) =
    member _.Stages = stages
    member val IsGone = false with get, set
    member val Slots = 0 with get, set
    member val Held = HashSet<TaskId>()

/// One SUBMIT of a client, and the answers to it.
[<Sealed>]
type RequestRecord(content: string, want: Want, key: Key option) =
    member _.Content = content
    member _.Want = want
    member _.Key = key
    member val Task = 0L<taskId> with get, set
    member val IsRejected = false with get, set

    /// The end of its task that it was told last.
    member val Told = 0 with get, set
