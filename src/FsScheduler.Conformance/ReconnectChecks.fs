/// Checks of lost connections, and of reconnecting.
module FsScheduler.Conformance.ReconnectChecks

open System
open System.Collections.Generic
open System.Diagnostics
open System.Threading.Tasks
open FsScheduler.Core

let private text = utf8 "De VOLTA.\n"

let private check id checks run : Check = { id = id; checks = checks; run = run }

let private again = "a connection after one that was closed"

/// The wait for an answer that must not come.
let private quiet = TimeSpan.FromMilliseconds 300.0

let private closedMiddle =
    check "closed-middle" "drops an incomplete frame when the connection closes, and comes back"
    <| fun scheduler ->
        task {
            let mutable session = Unchecked.defaultof<Session>
            let! first = Handshake.first scheduler
            session <- first

            for what in [ "payload"; "line" ] do
                let attempt = session.NewAttempt()
                let frame = session.Frame(attempt, text)

                let cut =
                    if what = "payload" then
                        frame.Length - text.Length / 2
                    else
                        40

                do! session.Connection.Send frame[.. cut - 1]
                scheduler.Assignments.Drop [||]
                session.Connection.CloseHalf()

                match! session.Connection.TryNext quiet with
                | Some WorkerMessage.Closed
                | None -> ()
                | Some _ -> failCheck $"nothing after a {what} that was cut off" "something else"

                session.Connection.Abort()
                let! next = Handshake.next scheduler again Handshake.welcome
                session <- next

            do! session.Finish()
        }

/// A payload that keeps a stage busy for a while.
let private long =
    lazy (utf8 (String.replicate 500_000 "SEGURE isto, que eu JÁ volto.\n"))

/// Assigns up to two tasks, closes the connection, and listens on the same port again: the next connection and its HELLO.
let private restarted (scheduler: TestScheduler) =
    task {
        let! session = Handshake.first scheduler

        let given = [ for _ in 1 .. min session.Slots 2 -> session.NewAttempt() ]

        for attempt in given do
            do! session.Connection.Send(session.Frame(attempt, long.Value))

        scheduler.StopListening()
        session.Connection.Abort()
        do! Task.Delay 700
        do! scheduler.ListenAgain()
        let! connection = scheduler.Accept "a connection after a restart of the scheduler"
        let! hello = Handshake.hello connection

        match
            hello.holding
            |> Array.tryFind (fun attempt -> not (List.contains attempt scheduler.Assignments.Open))
        with
        | Some attempt ->
            failCheck
                "'holding' with attempts only that were assigned and not answered"
                $"task {attempt.task}, attempt {attempt.number}"
        | None -> ()

        return struct (connection, hello)
    }

let private restart =
    check
        "restart"
        "comes back to a scheduler that was restarted, and drops the tasks that it may not keep"
    <| fun scheduler ->
        task {
            let! struct (connection, hello) = restarted scheduler
            scheduler.Assignments.Drop [||]
            let! session = Handshake.admit scheduler connection hello Handshake.welcome
            do! session.Finish()
        }

let private keep =
    check "keep" "goes on with the tasks of its 'holding' that it may keep"
    <| fun scheduler ->
        task {
            let! struct (connection, hello) = restarted scheduler

            if hello.holding.Length = 0 then
                raise (CheckNotApplicable "the worker sends no 'holding', which is optional")

            scheduler.Assignments.Drop hello.holding
            let welcome = { Handshake.welcome with keep = hello.holding }
            let! session = Handshake.admit scheduler connection hello welcome
            let! expected = session.Expected long.Value

            for attempt in hello.holding do
                do! session.Check("the result of a task that it may keep", attempt, expected)

            do! session.Finish()
        }

let private watched = TimeSpan.FromSeconds 3.0

/// Fewer connections must come in the time of `watched`: pauses grow beyond a third of a second.
let private connectionsMax = 10

/// The pauses between connections, each of which `close` ends after its HELLO, for the time of `watched` or until the
/// worker ends.
let private watch (scheduler: TestScheduler) (close: WorkerConnection -> Task<unit>) =
    let meet connection =
        task {
            let! _ = Handshake.hello connection
            do! close connection
        }

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
                goOn <- pauses.Count < connectionsMax
            | None -> goOn <- false

        return List.ofSeq pauses
    }

let private show (pauses: TimeSpan list) =
    let each = pauses |> List.map (fun pause -> $"{pause.TotalMilliseconds:F0}")
    "pauses of " + String.Join(", ", each) + " ms"

let private expectPatience (pauses: TimeSpan list) (after: string) =
    if pauses.Length >= connectionsMax then
        failCheck
            $"less than {connectionsMax} further connections in {watched.TotalSeconds} s {after}"
            (show pauses)

let private backoff =
    check "backoff" "waits longer from one closed connection to the next, and never gives up"
    <| fun scheduler ->
        task {
            let! pauses = watch scheduler (fun connection -> task { connection.Abort() })

            expectPatience pauses "after each that is closed at once"

            if pauses.IsEmpty then
                let! connection = scheduler.Accept again
                connection.Abort()

            if pauses.Length >= 4 && List.last pauses < 1.5 * List.min pauses then
                failCheck "pauses that grow from failure to failure" (show pauses)
        }

let private unauthorized =
    check "unauthorized" "ends, or waits, when the scheduler says that it is not authorized"
    <| fun scheduler ->
        task {
            let! pauses =
                watch scheduler (fun connection ->
                    task {
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
