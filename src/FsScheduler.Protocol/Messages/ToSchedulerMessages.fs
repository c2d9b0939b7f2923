/// The messages of workers and clients, except those of every task (`HotMessages`).
module internal FsScheduler.Protocol.ToSchedulerMessages

open FsScheduler.Core
open FsScheduler.Protocol.FieldType

let private stagesOf (fields: MessageFields) =
    let stages = fields.Texts "stages"

    if not (ProtocolLimits.areOffers stages) then
        fields.Refuse(
            "stages",
            $"at most {ProtocolLimits.stagesMax} names of stages, each at most \
              {ProtocolLimits.stageNameBytesMax} of letters, digits, '-', '_' and '.', a letter or digit first; \
              or 'exec:PROGRAM', 'exec-file:PROGRAM', 'exec-lines:PROGRAM'"
        )

    stages

let private isWorker (fields: MessageFields) = fields.Choice("role", JsonNames.roles)

/// The fields `role` and `stages`: only a worker has stages.
let private role: Shape<Hello, Role> = {
    read =
        fun fields ->
            if isWorker fields then
                Role.Worker(if fields.Has "stages" then Some(stagesOf fields) else None)
            else
                Role.Client
    write =
        fun writer hello ->
            (choice JsonNames.roles).write writer "role" hello.role.IsWorker

            match hello.role with
            | Role.Worker(Some stages) -> texts.write writer "stages" stages
            | Role.Worker None
            | Role.Client -> ()
}

/// A field of a worker's HELLO. In the HELLO of a client it is ignored like any unknown field, whatever its value.
let private ofWorker (missing: 'value) (shape: Shape<Hello, 'value>) : Shape<Hello, 'value> = {
    read = fun fields -> if isWorker fields then shape.read fields else missing
    write =
        fun writer hello ->
            if hello.role.IsWorker then
                shape.write writer hello
}

let private version = int System.Int32.MinValue System.Int32.MaxValue

let private helloOfThisVersion: Shape<Hello, Hello> =
    message {
        let! protocol = required "protocol" version _.protocol
        and! role = role
        and! name = required "name" (text ProtocolLimits.peerNameBytesMax) _.name
        and! token = optional "token" (text ProtocolLimits.tokenBytesMax) _.token
        and! holding = unless "holding" attempts [||] _.holding |> ofWorker [||]
        and! sharedFiles = unless "sharedFiles" bool false _.sharedFiles |> ofWorker false

        return {
            protocol = protocol
            role = role
            name = name
            token = token
            holding = holding
            sharedFiles = sharedFiles
        }
    }

/// In another version of the protocol, the fields beside `protocol` may be missing or have another meaning.
let private helloShape: Shape<Hello, Hello> = {
    helloOfThisVersion with
        read =
            fun fields ->
                let protocol = version.read fields "protocol"

                if protocol = ProtocolLimits.protocolVersion then
                    helloOfThisVersion.read fields
                else
                    {
                        protocol = protocol
                        role = Role.Client
                        name = ""
                        token = None
                        holding = [||]
                        sharedFiles = false
                    }
}

let private hello =
    Declaration.make "HELLO" helloShape ToScheduler.Hello (function
        | ToScheduler.Hello hello -> ValueSome hello
        | _ -> ValueNone)

let private ready =
    Declaration.make
        "READY"
        (required "slots" (int 0 ProtocolLimits.slotsMax) id)
        ToScheduler.Ready
        (function
         | ToScheduler.Ready slots -> ValueSome slots
         | _ -> ValueNone)

let private ofTask word wrap tryUnwrap =
    Declaration.make word (required "task" task id) wrap tryUnwrap

let private cancel =
    ofTask "CANCEL" ToScheduler.Cancel (function
        | ToScheduler.Cancel task -> ValueSome task
        | _ -> ValueNone)

/// RETRY of one task or of all in quarantine, with a new pipeline or their present ones.
let private retry =
    let shape: Shape<struct (TaskId voption * string option), _> = {
        read =
            fun fields ->
                let isEvery = fields.Has "all"

                if isEvery && not (fields.Bool "all") then
                    fields.Refuse("all", "true, or absent")

                let id =
                    if isEvery then
                        ValueNone
                    else
                        ValueSome(task.read fields "task")

                let pipeline = text ProtocolLimits.pipelineBytesMax

                struct (id,
                        if fields.Has "pipeline" then
                            Some(pipeline.read fields "pipeline")
                        else
                            None)
        write =
            fun writer (struct (id, pipeline)) ->
                match id with
                | ValueSome id -> task.write writer "task" id
                | ValueNone -> writer.WriteBoolean("all", true)

                pipeline
                |> Option.iter (fun pipeline -> writer.WriteString("pipeline", pipeline))
    }

    let wrap (struct (id, pipeline)) =
        match id, pipeline with
        | ValueSome id, None -> ToScheduler.Retry id
        | ValueSome id, Some pipeline -> ToScheduler.RetryWith(id, pipeline)
        | ValueNone, None -> ToScheduler.RetryAll
        | ValueNone, Some pipeline -> ToScheduler.RetryAllWith pipeline

    Declaration.make "RETRY" shape wrap (function
        | ToScheduler.Retry id -> ValueSome(struct (ValueSome id, None))
        | ToScheduler.RetryWith(id, pipeline) -> ValueSome(struct (ValueSome id, Some pipeline))
        | ToScheduler.RetryAll -> ValueSome(struct (ValueNone, None))
        | ToScheduler.RetryAllWith pipeline -> ValueSome(struct (ValueNone, Some pipeline))
        | _ -> ValueNone)

let private drain =
    Declaration.make
        "DRAIN"
        (required "worker" (text ProtocolLimits.peerNameBytesMax) id)
        ToScheduler.Drain
        (function
         | ToScheduler.Drain worker -> ValueSome worker
         | _ -> ValueNone)

let private explain =
    ofTask "EXPLAIN" ToScheduler.Explain (function
        | ToScheduler.Explain task -> ValueSome task
        | _ -> ValueNone)

let private events =
    let shape =
        message {
            let! task = optional "task" task (fun (query: EventQuery) -> query.task)
            and! after = defaulted "after" count 0L (fun (query: EventQuery) -> query.after)

            and! most =
                defaulted "most" (int 1 ProtocolLimits.eventsMax) 1_000 (fun (query: EventQuery) ->
                    query.most)

            return ({ task = task; after = after; most = most }: EventQuery)
        }

    Declaration.make "EVENTS" shape ToScheduler.Events (function
        | ToScheduler.Events query -> ValueSome query
        | _ -> ValueNone)

let private phases: FieldType<Phase[]> = {
    read =
        fun fields name ->
            let found = fields.Texts name |> Array.map PhaseName.tryParse
            let most = PhaseName.all.Length

            if found.Length > most || Array.exists Option.isNone found then
                let known = String.concat ", " PhaseName.all
                fields.Refuse(name, $"an array of at most {most} of {known}")

            Array.choose id found
    write = fun writer name phases -> texts.write writer name (Array.map PhaseName.print phases)
}

let private list =
    let shape =
        message {
            let! after = defaulted "after" taskBefore 0L<taskId> _.after

            and! most =
                defaulted "most" (int 1 ProtocolLimits.listedMax) 1_000 (fun (query: TaskQuery) ->
                    query.most)

            and! phases = unless "states" phases [||] _.phases

            and! name =
                optional "name" (text TaskName.bytesMax) (fun (query: TaskQuery) -> query.name)

            and! stage = optional "stage" (text ProtocolLimits.programBytesMax) _.stage

            return { after = after; most = most; phases = phases; name = name; stage = stage }
        }

    Declaration.make "LIST" shape ToScheduler.List (function
        | ToScheduler.List query -> ValueSome query
        | _ -> ValueNone)

let private fetch =
    ofTask "FETCH" ToScheduler.Fetch (function
        | ToScheduler.Fetch task -> ValueSome task
        | _ -> ValueNone)

/// The first message of a worker or a client.
let opening = [ hello ]

/// Other messages of workers.
let ofWorkers = [ ready ]

/// Other messages of clients.
let ofClients = [
    Declaration.bare "STATUS" ToScheduler.Status
    cancel
    retry
    drain
    explain
    events
    list
    Declaration.bare "STAGES" ToScheduler.Stages
    fetch
]

let all = opening @ ofWorkers @ ofClients
