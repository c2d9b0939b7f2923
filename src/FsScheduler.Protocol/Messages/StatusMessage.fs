/// The declaration of STATUS. Its names and errors are cut so that every report fits into one line.
module internal FsScheduler.Protocol.StatusMessage

open FsScheduler.Core
open FsScheduler.Protocol.FieldType

/// The most bytes of a worker's name, so that 200 workers fit: each takes at most 136 bytes beside its name, all other
/// fields at most 4,000.
let private nameBytesMax = 170

/// The most bytes of the name of a missing stage.
let private missingBytesMax = 50

/// The most bytes of a worker that is held back, with the reason.
let private heldBackBytesMax = 180

/// The most bytes of `trouble`.
let private troubleBytesMax = 520

/// The most bytes of `awaited`.
let private awaitedBytesMax = 280

/// The longest beginning of a text that takes at most `bytesMax` bytes in JSON.
let private fit (bytesMax: int) (text: string) =
    let mutable length = 0
    let mutable bytes = 0
    let mutable runes = text.EnumerateRunes()

    while bytes <= bytesMax && runes.MoveNext() do
        let rune = runes.Current

        bytes <-
            bytes
            + if JsonOutput.encoder.WillEncode rune.Value then
                  6 * rune.Utf16SequenceLength
              else
                  rune.Utf8SequenceLength

        if bytes <= bytesMax then
            length <- length + rune.Utf16SequenceLength

    text.Substring(0, length)

let private fitted bytesMax : FieldType<string> = {
    cutText with
        write = fun writer name value -> writer.WriteString(name, fit bytesMax value)
}

/// An array of texts. Writing keeps the first `most`, and `bytesMax` bytes of each.
let private fittedTexts most bytesMax : FieldType<string[]> = {
    texts with
        write =
            fun writer name values ->
                values
                |> Array.truncate most
                |> Array.map (fit bytesMax)
                |> texts.write writer name
}

let private worker: Shape<WorkerReport, WorkerReport> =
    let session =
        integer 1L ProtocolLimits.integerMax |> map (fun n -> n * 1L<sessionId>) int64

    let name = {
        text ProtocolLimits.peerNameBytesMax with
            write = (fitted nameBytesMax).write
    }

    message {
        let! session = required "session" session _.session
        and! name = required "name" name (fun (worker: WorkerReport) -> worker.name)
        and! slots = required "slots" (int 0 ProtocolLimits.slotsMax) _.slots
        and! held = required "held" smallCount _.held

        and! finished =
            required "finished" count (fun (worker: WorkerReport) -> worker.finished)

        and! failed = required "failed" count _.failed

        return {
            session = session
            name = name
            slots = slots
            held = held
            finished = finished
            failed = failed
        }
    }

let shape: Shape<StatusReport, StatusReport> =
    message {
        let! queued = required "queued" count _.queued
        and! running = required "running" count _.running
        and! waiting = required "waiting" count _.waiting
        and! publishing = required "publishing" count _.publishing
        and! split = unless "split" count 0L _.split
        and! quarantined = required "quarantined" count _.quarantined

        and! finished =
            required "finished" count (fun (report: StatusReport) -> report.finished)

        and! cancelled = required "cancelled" count _.cancelled
        and! idle = required "idle" smallCount _.idle
        and! busy = required "busy" smallCount _.busy
        and! uptime = required "uptimeMs" duration _.uptime
        and! oldest = required "oldestMs" duration _.oldest
        and! finished10s = required "finished10s" count _.finished10s
        and! finished60s = required "finished60s" count _.finished60s
        and! trouble = optional "trouble" (fitted troubleBytesMax) _.trouble
        and! awaited = optional "awaited" (fitted awaitedBytesMax) _.awaited

        and! missing =
            unless "missing" (fittedTexts ProtocolLimits.missingMax missingBytesMax) [||] _.missing

        and! heldBack =
            unless
                "heldBack"
                (fittedTexts ProtocolLimits.heldBackMax heldBackBytesMax)
                [||]
                _.heldBack

        and! workers =
            required
                "workers"
                (objects ProtocolLimits.workersMax "reports of workers" worker)
                (fun (report: StatusReport) -> report.workers)

        return {
            queued = queued
            running = running
            waiting = waiting
            publishing = publishing
            split = split
            quarantined = quarantined
            finished = finished
            cancelled = cancelled
            idle = idle
            busy = busy
            uptime = uptime
            oldest = oldest
            finished10s = finished10s
            finished60s = finished60s
            trouble = trouble
            awaited = awaited
            missing = missing
            heldBack = heldBack
            workers = workers
        }
    }
