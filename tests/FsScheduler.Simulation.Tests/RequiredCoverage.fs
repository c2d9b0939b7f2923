namespace FsScheduler.Simulation.Tests

open FSharp.Reflection
open FsScheduler.Core
open FsScheduler.Machine

/// What has to occur over all seeds, so that their success means something.
module RequiredCoverage =

    /// What only a journal and a restart bring about, or a client that asks, or many versions of one file in a row: the crashes have those,
    /// and the properties of the machine.
    let private elsewhere =
        set [
            "SubmitFile"
            "Claim"
            "Claimed"
            "Welcome"
            "LoadSubmission"
            "SubmissionLoaded"
            "ReplyLoaded"
            "Unstored"
            "RetryAll"
            "RetryWith"
            "RetryAllWith"
            "NoRoom"
            "Drain"
            "Dismiss"
            "Note"
            "Noted"
            "Retain"
            "Carried"
            "Dropped"
            "Drop"
            "Opened"
            "PartLost"
            "ConfirmPublished"
            "PublishOlder"
        ]

    let private cases kind (union: System.Type) = [
        for case in FSharpType.GetUnionCases union do
            if not (elsewhere.Contains case.Name) then
                $"{kind}: {case.Name}"
    ]

    let private faults = [
        "CANCEL"
        "cut failed"
        "join failed"
        "slow"
        "RESULT sent twice"
        "RETRY"
        "RETRY of anything"
        "STATUS"
        "client's link reset"
        "crash without a word"
        "drain"
        "file changed"
        "file vanished"
        "frames lost in flight"
        "hang"
        "input unreadable"
        "key sent twice"
        "link half open"
        "link reset"
        "link silent"
        "link stalled"
        "poison"
        "result not stored"
        "scheduler asleep"
        "slots changed"
        "stage failed"
        "stage refused"
        "work kept over a reconnect"
        "worker crashed"
        "worker broken"
        "broken worker"
        "broken worker says so"
    ]

    let private sights = [
        "batch decided while the journal writes"
        "a straggler's helper fails or is left alone"
        "cut, and nobody does pieces any more"
        "cut or joined for nobody"
        "gone before it was cut"
        "gone before it was joined"
        "goes on with the parts that are there"
        "parts in a row"
        "pieces by lines"
        "pieces of a stage that aggregates"
        "pieces that nobody runs any more"
        "parts merged"
        "quarantine, a piece failed"
        "quarantine, joined in vain too often"
        "retried after a piece failed"
        "split at a later stage"
        "the helper was faster"
        "the straggler was faster"
        "drained and closed"
        "failed for nothing"
        "file changed before it was read"
        "key sent again after a reconnect"
        "lost while draining"
        "quarantine, failed too often"
        "quarantine, lost too often"
        "quarantine, refused"
        "rejected as BadKey"
        "rejected as BadPipeline"
        "result by another session"
        "result fenced off"
        "result of an earlier attempt by the same session"
        "suspect run alone"
        "worker back as a new session"
        "worker finds its scheduler silent"
    ]

    let private states = [
        "queued"
        "suspected"
        "running"
        "split"
        "waiting"
        "publishing"
        "succeeding"
        "quarantined"
    ]

    /// Every input, event and effect that there is, every state of a task, and every fault.
    let occurrences = [
        yield! cases "input" typeof<Input>
        yield! cases "event" typeof<Event>
        yield! cases "effect" typeof<PeerEffect>
        yield! cases "effect" typeof<DiskEffect>
        yield! cases "effect" typeof<PieceEffect>
        yield! cases "effect" typeof<JournalEffect>
        yield! cases "effect" typeof<LogEffect>
        for state in states do
            "state: " + state
        for fault in faults do
            "fault: " + fault
        for sight in sights do
            "seen: " + sight
    ]
