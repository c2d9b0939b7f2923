namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Simulation.Tests

/// What a worker has been given.
type Holding = { attempt: Attempt; stages: string[]; input: string }

/// <summary>A worker, which lives on when the scheduler does not.</summary>
/// <param name="name">Its name.</param>
/// <param name="stages">What it runs.</param>
/// <param name="tellsHolding">Whether it says what it holds when it comes back; else it knows nothing of that.</param>
[<Sealed>]
type CrashWorker(name: string, stages: string[], tellsHolding: bool) =
    member _.Name = name
    member _.Stages = stages
    /// None: it is not connected.
    member val Session: SessionId voption = ValueNone with get, set
    member val IsWelcome = false with get, set
    member val Holding = List<Holding>()
    /// What it should have dropped, and may send all the same.
    member val Stale = List<Holding>()

    member worker.Drop(isDropped: Holding -> bool) =
        for holding in worker.Holding.ToArray() do
            if isDropped holding then
                worker.Holding.Remove holding |> ignore
                worker.Stale.Add holding

    member worker.Disconnect() =
        worker.Session <- ValueNone
        worker.IsWelcome <- false

        if not tellsHolding then
            worker.Drop(fun _ -> true)

/// Something that a client wants done.
[<Sealed>]
type Job(name: string, pipeline: string, want: Want, key: string option, isLarge: bool, lines: int)
    =
    member _.Name = name
    member _.Pipeline = pipeline
    member _.Want = want
    member _.Key = key
    member _.IsLarge = isLarge
    member _.Content = Content.make (name + ".0") lines
    /// What ACCEPTED said.
    member val Task = 0L<taskId> with get, set
    /// It was sent on the connection that there is.
    member val IsSent = false with get, set
    /// DONE has come, without an error.
    member val HasResult = false with get, set
    /// Nothing more is to be expected.
    member val IsOver = false with get, set
    /// The journal was made to forget its key.
    member val IsForgotten = false with get, set
    /// Somebody has taken its result away, as a file.
    member val IsTakenAway = false with get, set

/// Stages of all kinds, and what is made of them.
module CrashStages =

    /// Runs on pieces.
    let private lines = "lower"

    /// Is merged.
    let private merged = "sort"

    /// Needs all of it.
    let private whole = "c"

    /// Workers' own, with others for pieces.
    let private own = [| "each"; "tally" |]

    let all = [|
        lines
        merged
        whole
        yield! own
        for stage in own do
            yield! Content.formsOf stage
    |]

    /// For files.
    let ofFiles = [| lines; merged |]

    let pipelines = [|
        lines
        $"{lines} | {merged}"
        $"{merged} | {lines}"
        $"{whole} | {lines}"
        $"{lines} | {whole}"
        $"each | {whole}"
        $"{whole} | {lines} | tally | each"
    |]

    /// What workers can be, with whether they remember.
    let workers (chance: Chance) = [|
        "both", all, true
        "simple", all, false
        "first", [| lines; whole |], true
        "second", [| merged |], chance.Percent 50
    |]

    /// Whether this is what the stages make of a content, whoever ran them on whatever part of it.
    let give (stages: string[]) (content: string) (result: string) =
        let whole = Content.run stages { task = 0L<taskId>; number = 0 } content
        Content.plain result = Content.plain whole

    let ofPipeline (pipeline: string) = pipeline.Split " | "

/// A result under its final name.
type PublishedResult = { task: TaskId; place: string; content: string }

/// What is there besides the scheduler and its disk: the folder of inputs, workers and a client.
[<Sealed>]
type SimEnvironment() =
    let mutable sessions = 0L<sessionId>
    member val Files = SortedDictionary<string, int64>(System.StringComparer.Ordinal)
    member val Workers = List<CrashWorker>()
    member val Jobs = List<Job>()
    member val Client: SessionId voption = ValueNone with get, set

    /// The attempts that workers were given. None is given twice.
    member val Given = HashSet<Attempt>()
    /// What has its final name, by version of a file or by task.
    member val Published = Dictionary<string, PublishedResult>()

    member _.NewSession() =
        sessions <- sessions + 1L<sessionId>
        sessions

    member outside.WorkerOf(session: SessionId) =
        outside.Workers
        |> Seq.tryFind (fun worker -> worker.Session = ValueSome session)

    /// The client hears an answer; the content is that of a result.
    member outside.Hear(message: FromScheduler, content: string) =
        let jobOf ref =
            outside.Jobs |> Seq.find (fun job -> job.Name = ref)

        match message with
        | FromScheduler.Accepted(ref, task) ->
            let job = jobOf ref

            must
                (job.Task = 0L<taskId> || job.Task = task || job.Key.IsNone || job.IsForgotten)
                $"{ref} was task {job.Task} and is task {task}"

            if job.Task <> task then
                job.IsForgotten <- false // it is another task from now on
                job.IsTakenAway <- false

            job.Task <- task
        | FromScheduler.Done ended ->
            let job = jobOf ended.ref

            if ended.error.IsNone then
                must (not job.HasResult || job.Key.IsSome) $"{ended.ref} is done twice"
                job.HasResult <- true

                must
                    (job.Want <> Result
                     || CrashStages.give (CrashStages.ofPipeline job.Pipeline) job.Content content)
                    $"the result of {ended.ref} is '{content}'"

            job.IsOver <- true
        | FromScheduler.Rejected(ref, _, _) -> (jobOf ref).IsSent <- false
        | _ -> ()

    member outside.DisconnectClient() =
        outside.Client <- ValueNone

        for job in outside.Jobs do
            // Without a key nobody comes back for it.
            if job.Key.IsNone && job.IsSent then
                job.IsOver <- true

            job.IsSent <- false

    /// Nobody is connected any more.
    member outside.Disconnect() =
        for worker in outside.Workers do
            worker.Disconnect()

        outside.DisconnectClient()

    /// Workers, of which the first can do everything; a client's jobs; files.
    member outside.Populate(chance: Chance, size: int, large: int) =
        let workers = CrashStages.workers chance

        for name, stages, tells in Array.truncate (2 + chance.Below 3) workers do
            outside.Workers.Add(CrashWorker(name, stages, tells))

        for index in 1 .. 2 * size + chance.Below 3 do
            let key = if chance.Percent 60 then Some $"k{index}" else None
            let want = chance.Pick [| Want.Result; Want.Result; Want.File; Want.Nothing |]
            let pipeline = chance.Pick CrashStages.pipelines
            let isLarge = chance.Percent large
            let lines = chance.Pick [| 1; 4; 7 |]
            outside.Jobs.Add(Job($"c{index}", pipeline, want, key, isLarge, lines))

        for index in 1 .. 1 + chance.Below(2 * size) do
            outside.Files[$"f{index}"] <- int64 index
