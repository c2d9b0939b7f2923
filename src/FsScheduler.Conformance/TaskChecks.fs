/// Checks of tasks, attempts, slots and cancellation.
module FsScheduler.Conformance.TaskChecks

open System
open System.Threading.Tasks
open FsScheduler.Core

let private text = utf8 "Nós SOMOS a Fila.\n"

let private largeIds =
    Handshake.check
        "large-ids"
        "gives back 'task' up to 2^53 - 1 and 'attempt' up to 2^31 - 1 as they came"
    <| fun session ->
        task {
            let! expected = session.Expected text

            for attempt in
                [
                    { task = ProtocolLimits.integerMax * 1L<taskId>; number = Int32.MaxValue }
                    { task = (ProtocolLimits.integerMax - 1L) * 1L<taskId>; number = 1 }
                    { task = 4_294_967_297L<taskId>; number = 2 }
                ] do
                do! session.Connection.Send(session.Frame(attempt, text))
                do! session.Check($"the result of task {attempt.task}", attempt, expected)
        }

let private cancel (attempt: Attempt) = FromScheduler.Cancel attempt

let private attempts =
    Handshake.check
        "attempts"
        "runs the same task again at a higher attempt, and answers with that attempt"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let first = session.NewAttempt()
            let at number = { first with number = number }

            for number in [ 1; 2; 7 ] do
                do! session.Connection.Send(session.Frame(at number, text))
                do! session.Check($"attempt {number} of a task", at number, expected)

            // CANCEL frees the slot; the next attempt may come to the same worker.
            do! session.Connection.Send(session.Frame(at 8, utf8 "OUTRO\n"))
            do! session.Connection.Send(cancel (at 8))
            do! session.Connection.Send(session.Frame(at 9, text))
            do! session.Check("the attempt after a cancelled one", at 9, expected)
        }

/// More tasks at once would show nothing new.
let private slotsMax = 64

let private slots =
    Handshake.check
        "slots"
        "answers as many tasks at once as it has slots, and again without another READY"
    <| fun session ->
        task {
            let count = min session.Slots slotsMax
            let payload index = utf8 $"Tarefa {index}: AÇÃO\n"
            let expected = Array.zeroCreate count

            for index in 0 .. count - 1 do
                let! one = session.Expected(payload index)
                expected[index] <- one

            for round in [ "first"; "second" ] do
                let given = [| for _ in 1..count -> session.NewAttempt() |]

                do!
                    session.Connection.Send(
                        given
                        |> Array.mapi (fun index attempt -> session.Frame(attempt, payload index))
                        |> Array.concat
                    )

                for index in 0 .. count - 1 do
                    do!
                        session.Check(
                            $"task {index + 1} of {count} at once, the {round} time",
                            given[index],
                            expected[index]
                        )
        }

let private order =
    Handshake.check "stage-order" "runs several stages of one PROCESS in their order"
    <| fun session ->
        task {
            let other = session.OtherStage |> Option.defaultValue session.Stage

            for stages in [ [ session.Stage; other ]; [ other; session.Stage ] ] do
                let! first = session.RunStages([ stages[0] ], text)

                let! stepwise =
                    match first with
                    | Done result -> session.RunStages([ stages[1] ], result)
                    | Refused _ -> Task.FromResult first

                let! together = session.RunStages(stages, text)
                let names = String.Join(" | ", stages)
                session.Compare($"the result of '{names}', run one by one", stepwise, together)
        }

let private cancelBefore =
    Handshake.check "cancel-before" "goes on after a CANCEL for a task that it never got"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let first = session.NewAttempt()
            do! session.Connection.Send(cancel first)
            do! session.Connection.Send(cancel first)
            let next = { first with number = 2 }
            do! session.Connection.Send(session.Frame(next, text))
            do! session.Check("the attempt after a cancelled one", next, expected)
        }

/// The milliseconds from PROCESS to CANCEL: the task is not begun, running or done.
let private moments = [ 0.0; 0.0; 1.0; 3.0; 10.0; 30.0 ]

let private cancelWhile =
    Handshake.check
        "cancel-while"
        "goes on after a CANCEL for a task that it runs, at any moment, and takes the next task"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let long = utf8 (String.replicate 40_000 "CANCELADA, ou não?\n")

            for moment in moments do
                let! attempt = session.Assign long

                if moment > 0.0 then
                    do! Task.Delay(TimeSpan.FromMilliseconds moment)

                do! session.Connection.Send(cancel attempt)
                // CANCEL frees the slot at once: docs/protocol.md.
                let! next = session.Assign text

                do!
                    session.Check(
                        $"a task after a CANCEL, {moment} ms after its PROCESS",
                        next,
                        expected
                    )
        }

let private cancelAfter =
    Handshake.check "cancel-after" "goes on after two CANCELs for a task that it has finished"
    <| fun session ->
        task {
            let! expected = session.Expected text

            for _ in 1..2 do
                let! attempt = session.Assign text
                do! session.Check("a task before its CANCEL", attempt, expected)
                do! session.Connection.Send(cancel attempt)
                do! session.Connection.Send(cancel attempt)
        }

let private harmlessError =
    Handshake.check "harmless-error" "goes on after an ERROR that does not close the connection"
    <| fun session ->
        task {
            do! session.Connection.Send(FromScheduler.Error(ErrorCode.BadField, "a field is wrong"))

            do!
                session.Connection.Send(
                    FromScheduler.Error(ErrorCode.UnknownType, "a type is not known")
                )
        }

let all = [
    largeIds
    attempts
    slots
    order
    cancelBefore
    cancelWhile
    cancelAfter
    harmlessError
]
