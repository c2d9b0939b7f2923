namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core

/// `resultados/`: gives results their names, some of them later than others, and keeps what is there.
[<Sealed>]
type Publisher(scene: Scene, spool: Spool, folder: SimFolder, post: Input -> unit) =
    let climate = scene.climate
    let published = Dictionary<string, struct (int64 * string)>()

    let versionOf (submission: Submission) =
        match submission.Payload with
        | Input stamp -> stamp.modified
        | Packed
        | Filed
        | Recorded _
        | Bytes _
        | Spooled _ -> 0L
        | Slice _ -> raise (Violation "a piece is published")

    /// A look at the input, some time before the rename: what happens in between, it does not see.
    let isOutdated (submission: Submission) =
        match submission.Payload with
        | Input stamp -> (folder.Read(submission.Name, stamp)).IsNone
        | Packed
        | Filed
        | Recorded _
        | Bytes _
        | Spooled _ -> false
        | Slice _ -> raise (Violation "a piece is published")

    let rename attempt (submission: Submission) payload =
        let content = spool.Content(payload, submission)
        spool.Consume payload

        if scene.Fault(climate.unpublishedPercent, "result not stored") then
            post (Input.Unpublished(attempt, "disk full"))
        else
            let version = versionOf submission

            match published.TryGetValue submission.Name with
            | true, struct (newest, _) when newest > version ->
                raise (
                    Violation
                        $"version {version} of {submission.Name} is published over version {newest}"
                )
            | _ -> ()

            published[submission.Name] <- struct (version, content)
            scene.Note("published", version, submission.Name)
            post (Input.Published(attempt, { size = int64 content.Length * 1L<B>; hash = 0UL }))

    let publish isVoid attempt submission payload =
        if isVoid then
            spool.Consume payload
            post (Input.Outdated attempt)
        else
            let takes = scene.chance.Time(0L<ms>, climate.publishMax)
            scene.timeline.After(takes, fun () -> rename attempt submission payload)

    member _.Of(name: string) : string voption =
        match published.TryGetValue name with
        | true, struct (_, content) -> ValueSome content
        | _ -> ValueNone

    member _.Publish(attempt, submission, payload) =
        publish (isOutdated submission) attempt submission payload

    /// A version that may be older than what is there, and not newer than what is published.
    member _.PublishOlder(attempt, submission: Submission, payload) =
        scene.coverage.Count "seen: older version published, as it may"
        publish (not (folder.Files.ContainsKey submission.Name)) attempt submission payload
