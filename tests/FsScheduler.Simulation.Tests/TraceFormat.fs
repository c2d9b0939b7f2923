namespace FsScheduler.Simulation.Tests

open System.Text
open FsScheduler.Core
open FsScheduler.Machine

/// What happens in a run, in words for a failing seed's last lines.
module TraceFormat =

    let private content (of': Content) =
        match of' with
        | Bytes bytes -> "'" + Encoding.UTF8.GetString bytes + "'"
        | Spooled(path, _) -> path

    let private kept (of': KeptContent) =
        match of' with
        | Held of' -> content of'
        | Recorded(number, _) -> $"of event {number}"

    let rec private payload (of': Payload) =
        match of' with
        | Packed -> "packed"
        | Journaled -> "filed"
        | Kept of' -> kept of'
        | Payload.Input stamp -> $"version {stamp.modified}"
        | Slice(whole, start, size) -> $"{size} bytes from {start} of {payload whole}"

    let private attempt (attempt: Attempt) = $"{attempt.task}#{attempt.number}"

    let private plain (value: obj) =
        RegularExpressions.Regex.Replace(sprintf "%A" value, @"\s+", " ")

    let private input value =
        match value with
        | Input.Submit(submission, pipeline) ->
            $"Submit {submission.Name}, {payload submission.Payload}, '{pipeline}', ref '{submission.Ref}', {plain submission.Origin}"
        | Input.Report(session, of', outcome, result) ->
            $"Report by {session} of {attempt of'}: {plain outcome}, {content result}"
        | Input.Cut(of', cuts) -> $"Cut {attempt of'}: %A{cuts}"
        | Input.PartsMerged(of', result) -> $"PartsMerged {attempt of'}: {content result}"
        | other -> plain other

    let private event value =
        match value with
        | Event.Submitted(id, submission, _) ->
            match submission.Origin with
            | Origin.Piece(whole, index) ->
                $"Submitted {id}: piece {index} of {whole}, {payload submission.Payload}"
            | Origin.Folder
            | Origin.Client _ -> $"Submitted {id}: {submission.Name}"
        | Event.Split(of', last, others, cuts) ->
            let stages =
                others |> ValueOption.map Pipeline.print |> ValueOption.defaultValue "its own"

            $"Split {attempt of'} up to stage {last}, {stages}: %A{cuts}"
        | Event.Part(whole, index, result) -> $"Part {index} of {whole}: {kept result}"
        | Event.Assigned(of', session, struct (first, last)) ->
            $"Assigned {attempt of'} to {session}: stages {first} to {last - 1}"
        | Event.Advanced(of', stage, result) ->
            $"Advanced {attempt of'} to stage {stage}: {kept result}"
        | Event.Accepted(of', AcceptedContent result) -> $"Accepted {attempt of'}: {content result}"
        | other -> plain other

    let private effect value =
        match value with
        | Effect.ToPeer(PeerEffect.Assign(session, work, _, input)) ->
            $"Assign {attempt work.attempt} to {session}: {work.name}, {payload input}"
        | Effect.ToPeer(PeerEffect.Reply(session, message)) ->
            $"Reply to {session}: {plain message}"
        | Effect.ToPeer(PeerEffect.ReplyResult(session, message, result)) ->
            $"ReplyResult to {session}: {plain message}, {content result}"
        | Effect.ToPeer(PeerEffect.ReplyKept(session, message, result)) ->
            $"ReplyKept to {session}: {plain message}, {kept result}"
        | Effect.ToDisk(DiskEffect.Publish(of', submission, result)) ->
            $"Publish {attempt of'}: {submission.Name}, {content result}"
        | Effect.ToDisk(DiskEffect.PublishOlder(of', submission, result)) ->
            $"PublishOlder {attempt of'}: {submission.Name}, {content result}"
        | Effect.ToDisk(DiskEffect.PublishError(id, submission, _)) ->
            $"PublishError {id}: {submission.Name}"
        | Effect.ToPieces(PieceEffect.Cut(of', submission, whole, size)) ->
            $"Cut {attempt of'}: {submission.Name}, {payload whole}, into {size}"
        | Effect.ToPieces(PieceEffect.MergeParts(of', _, parts)) ->
            let parts = parts |> Seq.map kept |> String.concat ", "
            $"MergeParts {attempt of'}: {parts}"
        | Effect.ToPieces(PieceEffect.PrefetchPart(of', index, part)) ->
            $"PrefetchPart {attempt of'}: {index} is {kept part}"
        | Effect.ToPieces(PieceEffect.DropPrefetch of') -> $"DropPrefetch {attempt of'}"
        | Effect.ToDisk(DiskEffect.Discard path) -> $"Discard {path}"
        | other -> plain other

    /// What a case is called; of an effect, what is asked for.
    let caseOf (case: obj) : string =
        let inner: obj =
            match case with
            | :? Effect as effect ->
                match effect with
                | Effect.ToPeer effect -> effect
                | Effect.ToDisk effect -> effect
                | Effect.ToPieces effect -> effect
                | Effect.ToJournal effect -> effect
                | Effect.ToLog effect -> effect
            | other -> other

        // A case without data is of the union's own type.
        match inner.GetType().Name with
        | "Input" -> "Tick"
        | name -> name

    let ofAny (value: obj) =
        match value with
        | :? Input as value -> input value
        | :? Event as value -> event value
        | :? Effect as value -> effect value
        | other -> plain other
