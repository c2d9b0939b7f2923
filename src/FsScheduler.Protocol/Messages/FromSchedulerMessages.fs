/// The messages of the scheduler, except those of every task (`HotMessages`).
module internal FsScheduler.Protocol.FromSchedulerMessages

open FsScheduler.Core
open FsScheduler.Protocol.FieldType

let private welcome =
    let shape =
        message {
            let! protocol =
                required "protocol" (int 1 System.Int32.MaxValue) (fun (welcome: Welcome) ->
                    welcome.protocol)

            and! session = required "session" (text ProtocolLimits.sessionBytesMax) _.session
            and! beat = required "beatMs" duration _.beat
            and! lostAfter = required "lostAfterMs" duration _.lostAfter
            and! maxPayload = required "maxPayload" size _.maxPayload
            and! maxResult = required "maxResult" size _.maxResult
            and! keep = unless "keep" attempts [||] _.keep

            return {
                protocol = protocol
                session = session
                beat = beat
                lostAfter = lostAfter
                maxPayload = maxPayload
                maxResult = maxResult
                keep = keep
            }
        }

    Declaration.make "WELCOME" shape FromScheduler.Welcome (function
        | FromScheduler.Welcome welcome -> ValueSome welcome
        | _ -> ValueNone)

let private cancel =
    let shape =
        message {
            let! task = required "task" task (fun (attempt: Attempt) -> attempt.task)
            and! number = required "attempt" (int 1 System.Int32.MaxValue) _.number
            return { task = task; number = number }
        }

    Declaration.make "CANCEL" shape FromScheduler.Cancel (function
        | FromScheduler.Cancel attempt -> ValueSome attempt
        | _ -> ValueNone)

let private rejected =
    let shape =
        message {
            let! ref =
                required "ref" (text ProtocolLimits.refBytesMax) (fun (struct (ref, _, _)) -> ref)

            and! code =
                required "code" (choice JsonNames.rejections) (fun (struct (_, code, _)) -> code)

            and! text = required "message" cutText (fun (struct (_, _, text)) -> text)
            return struct (ref, code, text)
        }

    let wrap (struct (ref, code, text)) = FromScheduler.Rejected(ref, code, text)

    Declaration.make "REJECTED" shape wrap (function
        | FromScheduler.Rejected(ref, code, text) -> ValueSome(struct (ref, code, text))
        | _ -> ValueNone)

let private error =
    let shape =
        message {
            let! code =
                required "code" (choice JsonNames.errors) (fun (struct (code, _)) -> code)

            and! text = required "message" cutText (fun (struct (_, text)) -> text)
            return struct (code, text)
        }

    Declaration.make
        "ERROR"
        shape
        (fun (struct (code, text)) -> FromScheduler.Error(code, text))
        (function
         | FromScheduler.Error(code, text) -> ValueSome(struct (code, text))
         | _ -> ValueNone)

let private status =
    Declaration.make "STATUS" StatusMessage.shape FromScheduler.Status (function
        | FromScheduler.Status report -> ValueSome report
        | _ -> ValueNone)

let private explanation =
    Declaration.make "EXPLAIN" (required "task" task id) FromScheduler.Explanation (function
        | FromScheduler.Explanation task -> ValueSome task
        | _ -> ValueNone)

let private events =
    Declaration.make "EVENTS" (required "after" count id) FromScheduler.Events (function
        | FromScheduler.Events last -> ValueSome last
        | _ -> ValueNone)

let private list =
    let shape =
        message {
            let! last = required "after" taskBefore (fun (struct (last, _)) -> last)

            and! more = unless "more" bool false (fun (struct (_, more)) -> more)
            return struct (last, more)
        }

    Declaration.make
        "LIST"
        shape
        (fun (struct (last, more)) -> FromScheduler.List(last, more))
        (function
         | FromScheduler.List(last, more) -> ValueSome(struct (last, more))
         | _ -> ValueNone)

let private fetch =
    let shape =
        message {
            let! task = required "task" task (fun (struct (task, _)) -> task)
            and! name = required "name" (text TaskName.bytesMax) (fun (struct (_, name)) -> name)
            return struct (task, name)
        }

    Declaration.make
        "FETCH"
        shape
        (fun (struct (task, name)) -> FromScheduler.Fetch(task, name))
        (function
         | FromScheduler.Fetch(task, name) -> ValueSome(struct (task, name))
         | _ -> ValueNone)

let all = [
    welcome
    cancel
    rejected
    error
    status
    Declaration.bare "DRAIN" FromScheduler.Drain
    explanation
    events
    list
    Declaration.bare "STAGES" FromScheduler.Stages
    fetch
]
