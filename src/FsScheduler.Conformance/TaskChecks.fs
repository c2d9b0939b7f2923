/// Checks of tasks, attempts, slots and cancellation.
module FsScheduler.Conformance.TaskChecks

open System
open System.Text
open System.Threading.Tasks
open FsScheduler.Core

let private utf8 (text: string) = Encoding.UTF8.GetBytes text

let private text = utf8 "Nós SOMOS a Fila.\n"

let private largeIds =
    Handshake.row
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
                do! session.WorkerConnection.Send(session.Frame(attempt, text))
                do! session.Check($"the result of task {attempt.task}", attempt, expected)
        }

let private cancel (attempt: Attempt) = FromScheduler.Cancel attempt

let private attempts =
    Handshake.row "attempts" "runs the same task again at a higher attempt, and says which it was"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let first = session.New()
            let at number = { first with number = number }

            for number in [ 1; 2; 7 ] do
                do! session.WorkerConnection.Send(session.Frame(at number, text))
                do! session.Check($"attempt {number} of a task", at number, expected)

            // CANCEL frees the slot; the next attempt may come to the same worker.
            do! session.WorkerConnection.Send(session.Frame(at 8, utf8 "OUTRO\n"))
            do! session.WorkerConnection.Send(cancel (at 8))
            do! session.WorkerConnection.Send(session.Frame(at 9, text))
            do! session.Check("the attempt after a cancelled one", at 9, expected)
        }

/// A scheduler gives no more at once; more would show nothing new.
let private slotsMax = 64

let private slots =
    Handshake.row
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
                let given = [| for _ in 1..count -> session.New() |]

                do!
                    session.WorkerConnection.Send(
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
    Handshake.row "stage-order" "runs several stages of one PROCESS in their order"
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
                session.Compare($"what '{names}' gives one by one", stepwise, together)
        }

let private cancelBefore =
    Handshake.row "cancel-before" "goes on after a CANCEL for what it was never given"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let first = session.New()
            do! session.WorkerConnection.Send(cancel first)
            do! session.WorkerConnection.Send(cancel first)
            let next = { first with number = 2 }
            do! session.WorkerConnection.Send(session.Frame(next, text))
            do! session.Check("the attempt after a cancelled one", next, expected)
        }

/// From immediately to probably done, in milliseconds.
let private moments = [ 0.0; 0.0; 1.0; 3.0; 10.0; 30.0 ]

let private cancelWhile =
    Handshake.row
        "cancel-while"
        "goes on after a CANCEL for what it is doing, at any moment, and takes the next task"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let long = utf8 (String.replicate 40_000 "CANCELADA, ou não?\n")

            for moment in moments do
                let attempt = session.New()
                do! session.WorkerConnection.Send(session.Frame(attempt, long))

                if moment > 0.0 then
                    do! Task.Delay(TimeSpan.FromMilliseconds moment)

                do! session.WorkerConnection.Send(cancel attempt)
                // The slot is free, says docs/protocol.md.
                let next = session.New()
                do! session.WorkerConnection.Send(session.Frame(next, text))

                do!
                    session.Check(
                        $"a task after a CANCEL, {moment} ms after its PROCESS",
                        next,
                        expected
                    )
        }

let private cancelAfter =
    Handshake.row "cancel-after" "goes on after a CANCEL for what it has done, also a second one"
    <| fun session ->
        task {
            let! expected = session.Expected text

            for _ in 1..2 do
                let attempt = session.New()
                do! session.WorkerConnection.Send(session.Frame(attempt, text))
                do! session.Check("a task before its CANCEL", attempt, expected)
                do! session.WorkerConnection.Send(cancel attempt)
                do! session.WorkerConnection.Send(cancel attempt)
        }

let private harmlessError =
    Handshake.row "harmless-error" "goes on after an ERROR that does not close the connection"
    <| fun session ->
        task {
            do!
                session.WorkerConnection.Send(
                    FromScheduler.Error(ErrorCode.BadField, "a field is wrong")
                )

            do!
                session.WorkerConnection.Send(
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
