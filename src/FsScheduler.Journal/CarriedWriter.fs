namespace FsScheduler.Journal

open FsScheduler.Core
open FsScheduler.Machine

/// Writes the state that `Carried` events carry.
module internal CarriedWriter =

    let private state (out: EventOutput) (state: CarriedState) =
        let is (name: string) = out.Text(EventNames.state, name)

        match state with
        | CarriedState.Queued -> is "queued"
        | CarriedState.Suspected -> is "suspected"
        | CarriedState.Running session ->
            is "running"
            out.Number(EventNames.on, int64 session)
        | CarriedState.Split -> is "split"
        | CarriedState.Waiting until ->
            is "waiting"
            out.Time(EventNames.until, until)
        | CarriedState.Publishing -> is "publishing"
        | CarriedState.Succeeding older ->
            is "succeeding"
            out.Number(EventNames.older, int64 older)
        | CarriedState.Quarantined -> is "quarantined"

    let private progress (out: EventOutput) (progress: CarriedProgress) =
        out.Number(EventNames.attempt, int64 progress.attempt)
        out.Count(EventNames.failures, progress.failures)
        out.Count(EventNames.losses, progress.losses)
        out.Count(EventNames.stage, progress.stage)
        out.Count(EventNames.stageEnd, progress.stageEnd)
        ValueOption.iter (fun result -> out.Content(EventNames.result, result)) progress.result

        if not progress.pastFailures.IsEmpty then
            out.Json.StartArray EventNames.pastFailures

            for each in progress.pastFailures do
                out.Json.StartObject()
                out.Failure each
                out.Time(EventNames.at, each.at)
                out.Json.EndObject()

            out.Json.EndArray()

        match progress.pieces with
        | ValueSome pieces ->
            out.Json.StartObject EventNames.pieces
            out.Sizes(EventNames.cuts, pieces.cuts)
            out.Number(EventNames.last, int64 pieces.last)
            out.Pipeline(EventNames.pipeline, pieces.pipeline)
            out.Json.EndObject()
        | ValueNone -> ()

    let write (out: EventOutput) (carried: Carried) =
        match carried with
        | Carried.Task carried ->
            out.Text(EventNames.what, "task")
            out.Task carried.task
            out.Submission(out.Whole carried)
            out.Pipeline(EventNames.pipeline, carried.pipeline)
            state out carried.state
            out.Time(EventNames.since, carried.since)
            out.Number(EventNames.place, carried.place)
            ValueOption.iter (progress out) carried.progress
        | Carried.Part(whole, index, part) ->
            out.Text(EventNames.what, "part")
            out.Task whole
            out.Number(EventNames.piece, int64 index)
            out.Content(EventNames.payload, part)
        | Carried.Key key ->
            out.Text(EventNames.what, "key")
            out.Task key.task
            out.Text(EventNames.key, key.key.text)
            out.Text(EventNames.content, key.key.content)
            out.Number(EventNames.attempts, int64 key.attempts)
            Option.iter (fun error -> out.Text(EventNames.error, error)) key.error
            out.Content(EventNames.payload, key.result)
            out.Text(EventNames.want, EventNames.wantName key.want)
            out.Time(EventNames.finished, key.finished)
            ValueOption.iter (fun at -> out.Time(EventNames.delivered, at)) key.delivered
        | Carried.File file ->
            out.Text(EventNames.what, "file")
            out.Task file.task
            out.Text(EventNames.name, file.name)
            out.Pipeline(EventNames.pipeline, file.pipeline)
            out.FileVersion file.version

            if file.isDone then
                out.Json.Raw(EventNames.isDone, "true"B)

            match file.unflushed with
            | ValueSome(struct (at, content)) ->
                out.Number(EventNames.upTo, at)
                out.ContentHash content
            | ValueNone -> ()
        | Carried.Owner(name, owner) ->
            out.Text(EventNames.what, "owner")
            out.Text(EventNames.name, string name)
            out.Source owner
        | Carried.Worker(id, name, stages) ->
            out.Text(EventNames.what, "worker")
            out.Session id
            out.Text(EventNames.worker, name)
            out.Names(EventNames.stages, stages)
