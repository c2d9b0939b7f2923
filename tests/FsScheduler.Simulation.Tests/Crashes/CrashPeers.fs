namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Protocol
open FsScheduler.Server
open FsScheduler.Simulation.Tests

/// <summary>The connections of one life: what is sent on them arrives at once.</summary>
/// <param name="disk">Has the payloads that are files.</param>
/// <param name="history">Knows what is durable.</param>
/// <param name="journal">Has the payloads that are recorded.</param>
/// <param name="outside">Has the workers and the client.</param>
/// <param name="taken">The versions of files that the inbox believes in.</param>
/// <param name="post">Takes what the machine is to be told.</param>
[<Sealed>]
type CrashPeers
    (
        disk: SimDisk,
        history: History,
        journal: IJournal,
        outside: SimEnvironment,
        taken: Dictionary<string, FileVersion>,
        post: Input -> unit
    ) =
    let read path =
        match disk.Find path with
        | null -> raise (Violation $"{path} is not there")
        | file -> file.Content

    let keptContent (kept: KeptContent) : string =
        match kept with
        | Held(Bytes bytes) -> Content.ofBytes bytes
        | Held(Spooled(path, _)) -> read path
        | Recorded(number, _) -> Content.ofBytes (journal.ReadPayload number)

    /// The bytes that a payload stands for.
    let rec contentOf (payload: Payload) (submission: Submission) : string =
        match payload with
        | Packed -> Content.ofBytes (submission.Packed.ToArray())
        | Kept kept -> keptContent kept
        | Journaled -> raise (Violation "it was not recalled")
        | Payload.Input _ -> raise (Violation "an input has no content of its own")
        | Slice(whole, start, size) -> Content.slice (contentOf whole submission) start size

    /// What is in a file, if that is still this version; else it will be looked at again.
    let ofFile name (stamp: FileVersion) =
        match outside.Files.TryGetValue name with
        | true, version when version = stamp.modified -> ValueSome(Content.ofFile name version)
        | _ ->
            // A newer version may have been taken already.
            match taken.TryGetValue name with
            | true, known when known.modified = stamp.modified -> taken.Remove name |> ignore
            | _ -> ()

            ValueNone

    let toWorker (worker: CrashWorker) (departure: SchedulerMessage) =
        match departure.message with
        | FromScheduler.Process work ->
            must
                (history.IsAssigned work.attempt)
                $"{work.attempt} is given out before that is durable"

            let give input =
                must (outside.Given.Add work.attempt) $"{work.attempt} is given out twice"

                worker.Holding.Add { attempt = work.attempt; stages = work.stages; input = input }

            let giveFile stamp range =
                match ofFile work.name stamp with
                | ValueSome content ->
                    must
                        (not (outside.Published.ContainsKey content))
                        $"{content} is given out, though its result has its name"

                    give (range content)
                | ValueNone -> post (Input.FileChanged work.attempt)

            match departure.payload with
            | OutgoingPayload.Task(_, Payload.Input stamp) -> giveFile stamp id
            | OutgoingPayload.Task(_, Slice(Payload.Input stamp, start, size)) ->
                giveFile stamp (fun content -> Content.slice content start size)
            | OutgoingPayload.Task(submission, payload) -> give (contentOf payload submission)
            | OutgoingPayload.Own _
            | OutgoingPayload.Kept _ ->
                raise (Violation $"{work.attempt} is given out without its payload")
        | FromScheduler.Cancel attempt -> worker.Drop(fun held -> held.attempt = attempt)
        | _ -> ()

    let toClient (departure: SchedulerMessage) =
        match departure.message with
        | FromScheduler.Accepted(_, task) ->
            must (history.IsSubmitted task) $"task {task} is accepted before that is durable"
            outside.Hear(departure.message, "")
        | FromScheduler.Done ended ->
            must (history.IsEnded ended.task) $"task {ended.task} is over before that is durable"

            must
                (not (obj.ReferenceEquals(ended.ref, Submission.JournaledRef)))
                $"the client is told of task {ended.task} without its reference"

            let content =
                match ended.error, departure.payload with
                | Some _, _ -> ""
                | None, OutgoingPayload.Own content ->
                    let text = keptContent (Held content)
                    ValueOption.iter disk.Delete (Content.file content)
                    text
                | None, OutgoingPayload.Kept kept -> keptContent kept
                | None, OutgoingPayload.Task _ -> raise (Violation "a payload is sent to a client")

            outside.Hear(departure.message, content)
        | message -> outside.Hear(message, "")

    let ofWorker (worker: CrashWorker) =
        let welcome keep =
            worker.IsWelcome <- true
            worker.Drop(fun held -> not (Array.contains held.attempt keep))

        SimPeer(toWorker worker, welcome, ignore, worker.Disconnect)

    let client = SimPeer(toClient, ignore, ignore, ignore)

    member _.Find(session: SessionId) : IPeer | null =
        match outside.WorkerOf session with
        | Some worker -> ofWorker worker
        | None when outside.Client = ValueSome session -> client
        | None -> null

    /// What is in a file, if that is still this version; else the inbox looks at it again.
    member _.OfFile (name: string) (stamp: FileVersion) : string voption = ofFile name stamp
