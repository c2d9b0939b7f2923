/// Checks of lost connections, and of how the worker comes back.
module FsScheduler.Conformance.ReconnectChecks

open System
open System.Collections.Generic
open System.Diagnostics
open System.Text
open System.Threading.Tasks
open FsScheduler.Core

let private utf8 (text: string) = Encoding.UTF8.GetBytes text

let private text = utf8 "De VOLTA.\n"

let private row id checks run : Check = { id = id; checks = checks; run = run }

let private again = "a connection after one that was closed"

/// The wait for an answer that must not come.
let private quiet = TimeSpan.FromMilliseconds 300.0

let private closedMiddle =
    row "closed-middle" "drops a frame that is not whole when the connection closes, and comes back"
    <| fun scheduler ->
        task {
            let mutable session = Unchecked.defaultof<Session>
            let! first = Handshake.first scheduler
            session <- first

            for what in [ "payload"; "line" ] do
                let attempt = session.New()
                let frame = session.Frame(attempt, text)

                let cut =
                    if what = "payload" then
                        frame.Length - text.Length / 2
                    else
                        40

                do! session.WorkerConnection.Send frame[.. cut - 1]
                scheduler.AssignmentLog.Drop [||]
                session.WorkerConnection.CloseHalf()

                match! session.WorkerConnection.TryNext quiet with
                | Some WorkerMessage.Closed
                | None -> ()
                | Some _ ->
                    raise (Unfit($"nothing after a {what} that was cut off", "something else"))

                session.WorkerConnection.Abort()
                let! next = Handshake.next scheduler again Handshake.welcome
                session <- next

            do! session.Finish()
        }

/// A payload that takes a stage some time.
let private long =
    lazy (utf8 (String.replicate 500_000 "SEGURE isto, que eu JÁ volto.\n"))

/// Fills all slots of the worker, is killed, and listens on the same port again: the new connection, and its HELLO.
let private restarted (scheduler: TestScheduler) =
    task {
        let! session = Handshake.first scheduler

        let given = [ for _ in 1 .. min session.Slots 2 -> session.New() ]

        for attempt in given do
            do! session.WorkerConnection.Send(session.Frame(attempt, long.Value))

        scheduler.StopListening()
        session.WorkerConnection.Abort()
        do! Task.Delay 700
        do! scheduler.ListenAgain()
        let! connection = scheduler.Accept "a connection after a restart of the scheduler"
        let! hello = Handshake.hello connection

        match
            hello.holding
            |> Array.tryFind (fun attempt ->
                not (List.contains attempt scheduler.AssignmentLog.Open))
        with
        | Some attempt ->
            raise (
                Unfit(
                    "'holding' with nothing but what was given and not answered",
                    $"task {attempt.task}, attempt {attempt.number}"
                )
            )
        | None -> ()

        return struct (connection, hello)
    }

let private restart =
    row "restart" "comes back to a scheduler that was restarted, and drops what it may not keep"
    <| fun scheduler ->
        task {
            let! struct (connection, hello) = restarted scheduler
            scheduler.AssignmentLog.Drop [||]
            let! session = Handshake.admit scheduler connection hello Handshake.welcome
            do! session.Finish()
        }

let private keep =
    row "keep" "goes on with what it says that it is holding, when it may keep it"
    <| fun scheduler ->
        task {
            let! struct (connection, hello) = restarted scheduler

            if hello.holding.Length = 0 then
                raise (Inapplicable "it says nothing of what it is holding, and need not")

            scheduler.AssignmentLog.Drop hello.holding
            let welcome = { Handshake.welcome with keep = hello.holding }
            let! session = Handshake.admit scheduler connection hello welcome
            let! expected = session.Expected long.Value

            for attempt in hello.holding do
                do! session.Check("the result of what it may keep", attempt, expected)

            do! session.Finish()
        }

let private watched = TimeSpan.FromSeconds 3.0

/// Fewer connections must come in that time: pauses grow beyond a third of a second.
let private connectionsMax = 10

/// The pauses before further connections, until the worker or the watch ends; `meet` closes each connection.
let private watch (scheduler: TestScheduler) (meet: WorkerConnection -> Task<unit>) =
    task {
        let! first = scheduler.Accept "a connection"
        let started = Stopwatch.StartNew()
        do! meet first
        let pauses = List<TimeSpan>()
        let mutable closed = started.Elapsed
        let mutable goOn = true

        while goOn do
            match! scheduler.TryAccept(max TimeSpan.Zero (watched - started.Elapsed)) with
            | Some connection ->
                pauses.Add(started.Elapsed - closed)
                do! meet connection
                closed <- started.Elapsed
                goOn <- pauses.Count < connectionsMax // more would show nothing new
            | None -> goOn <- false

        return List.ofSeq pauses
    }

let private show (pauses: TimeSpan list) =
    let each = pauses |> List.map (fun pause -> $"{pause.TotalMilliseconds:F0}")
    "pauses of " + String.Join(", ", each) + " ms"

let private expectPatience (pauses: TimeSpan list) (after: string) =
    if pauses.Length >= connectionsMax then
        raise (
            Unfit(
                $"less than {connectionsMax} further connections in {watched.TotalSeconds} s {after}",
                show pauses
            )
        )

let private backoff =
    row "backoff" "waits longer and longer when connections are closed at once, and never gives up"
    <| fun scheduler ->
        task {
            let! pauses =
                watch scheduler (fun connection ->
                    task {
                        let! _ = Handshake.hello connection
                        connection.Abort()
                    })

            expectPatience pauses "after each that is closed at once"

            if pauses.IsEmpty then
                let! connection = scheduler.Accept again
                connection.Abort()

            if pauses.Length >= 4 && List.last pauses < 1.5 * List.min pauses then
                raise (Unfit("pauses that grow from failure to failure", show pauses))
        }

let private unauthorized =
    row "unauthorized" "ends, or waits, when it is told that it is not authorized"
    <| fun scheduler ->
        task {
            let! pauses =
                watch scheduler (fun connection ->
                    task {
                        let! _ = Handshake.hello connection

                        do!
                            connection.Send(
                                FromScheduler.Error(ErrorCode.Unauthorized, "not authorized")
                            )

                        connection.CloseHalf()
                        let! _ = connection.TryNext quiet
                        connection.Abort()
                    })

            expectPatience pauses "after each that is refused"
        }

let all = [ closedMiddle; restart; keep; backoff; unauthorized ]
