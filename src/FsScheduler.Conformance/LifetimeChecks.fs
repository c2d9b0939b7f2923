/// Checks of beats, of a lost scheduler, and of DRAIN.
module FsScheduler.Conformance.LifetimeChecks

open System
open System.Diagnostics
open System.Threading.Tasks
open FsScheduler.Core

let private text = utf8 "Ainda AQUI.\n"

let private quick = { Handshake.welcome with beat = 250L<ms>; lostAfter = 2_000L<ms> }

let private lostAfter = TimeSpan.FromMilliseconds(float (int64 quick.lostAfter))

/// Longer than the silence after which a worker is lost.
let private longEnough = 1.5 * lostAfter

let private quickCheck id checks (body: TestScheduler -> Session -> Task<unit>) : Check = {
    id = id
    checks = checks
    run =
        fun scheduler ->
            task {
                let! session = Handshake.next scheduler "a connection" quick
                do! body scheduler session
            }
}

let private expectBeats (session: Session) (doing: string) =
    let longest = session.Connection.LongestSilence

    if longest > lostAfter then
        failCheck
            $"a sign of life every {quick.beat} ms {doing}, and no silence over 'lostAfterMs' {quick.lostAfter}"
            $"{longest.TotalMilliseconds:F0} ms of silence"

let private idle =
    quickCheck
        "beat-idle"
        "gives a sign of life every 'beatMs' while it has nothing to do, and stays"
    <| fun _ session ->
        task {
            let before = session.Connection.Beats
            do! Task.Delay longEnough
            expectBeats session "while it has nothing to do"
            let count = session.Connection.Beats - before
            let due = int (longEnough.TotalMilliseconds / float (int64 quick.beat))

            // A third is enough: the machine may be busy.
            if count < due / 3 then
                failCheck
                    $"about {due} BEATs in {longEnough.TotalMilliseconds} ms, one every 'beatMs'"
                    $"{count}"

            do! session.Finish()
        }

let private busy =
    quickCheck
        "beat-busy"
        "gives a sign of life also while a payload comes slowly, and while it works"
    <| fun _ session ->
        task {
            let! expected = session.Expected text
            let attempt = session.NewAttempt()
            let frame = session.Frame(attempt, text)
            let line, payload = Array.splitAt (frame.Length - text.Length) frame
            let pieces = Array.append [| line |] (Array.splitInto 11 payload)
            do! session.Connection.SendPieces(pieces, longEnough / 11.0)
            do! session.Check("the result of a payload that came slowly", attempt, expected)
            expectBeats session "while a payload comes"
            let long = utf8 (String.replicate 20_000 "TRABALHO que demora um pouco mais.\n")
            let! _ = session.Run long
            expectBeats session "while it works"
            do! session.Finish()
        }

let private slowLink =
    quickCheck
        "slow-link"
        "sends a long result to a scheduler that reads slowly, and does not take the scheduler for lost"
    <| fun _ session ->
        task {
            // More than sockets buffer; with a pause after every 64 KiB, reading takes longer than lostAfterMs.
            let payload = utf8 (String.replicate 600_000 "UM caminho longo e estreito.\n")
            let pieces = payload.Length / (64 * 1024)
            let! expected = session.Expected payload
            let attempt = session.NewAttempt()
            session.Connection.Pace <- 2.0 * lostAfter / float pieces
            do! session.Connection.Send(session.Frame(attempt, payload))
            let! reply = session.ReplyWithin(attempt, 4.0)
            session.Compare("a result of 17 MB over a slow connection", expected, reply)
            session.Connection.Pace <- TimeSpan.Zero
            do! session.Finish()
        }

/// Waits until the worker closes the connection, or ends.
let private waitUntilLeft (scheduler: TestScheduler) (session: Session) (limit: TimeSpan) =
    task {
        let started = Stopwatch.StartNew()
        let mutable isGone = false

        while not isGone && started.Elapsed < limit do
            match! session.Connection.TryNext(limit - started.Elapsed) with
            | Some WorkerMessage.Closed -> isGone <- true
            | Some _
            | None -> ()

        return isGone || scheduler.Ended.IsCompleted
    }

let private lost =
    quickCheck
        "lost-scheduler"
        "leaves a scheduler that was silent for 'lostAfterMs', although the connection is open"
    <| fun scheduler session ->
        task {
            let! _ = session.Run text
            session.Connection.IsAnswering <- false
            let limit = lostAfter + scheduler.Patience
            let! isGone = waitUntilLeft scheduler session limit

            if not isGone then
                failCheck
                    $"the connection closed some time after {quick.lostAfter} ms of silence"
                    $"it was still open after {limit.TotalMilliseconds} ms"
        }

let private drain =
    quickCheck
        "drain"
        "after DRAIN finishes its tasks, says READY with no slots, closes, and does not come back"
    <| fun scheduler session ->
        task {
            let! expected = session.Expected text
            let! attempt = session.Assign text
            do! session.Connection.Send FromScheduler.Drain
            let mutable beats = 0
            let mutable isLeaving = false
            let mutable isClosed = false

            // A worker that does not know DRAIN goes on sending beats.
            while not isClosed && (isLeaving || beats < 5) do
                match! session.Connection.NextWithin scheduler.Patience with
                | Some WorkerMessage.Closed -> isClosed <- true
                | Some(WorkerMessage.Ready 0) -> isLeaving <- true
                | Some(WorkerMessage.Result(answered, outcome, payload)) when answered = attempt ->
                    match outcome with
                    | Succeeded -> session.Compare("the last result", expected, Done payload)
                    | Failed(error, _)
                    | Unable error -> session.Compare("the last result", expected, Refused error)
                | Some WorkerMessage.Beat -> beats <- beats + 1
                | Some _ ->
                    failCheck "READY with no slots, and the end of the connection" "something else"
                | None ->
                    failCheck
                        "the end of the connection after READY with no slots"
                        $"it was still open after {scheduler.Patience.TotalSeconds} s"

            if not isClosed && not isLeaving then
                raise (CheckNotApplicable "the worker does not know DRAIN, which is optional")

            if not isLeaving then
                failCheck "READY with no slots after DRAIN" "it closed without READY"

            if List.contains attempt scheduler.Assignments.Open then
                failCheck "the result of the task that it held" "it closed without"

            do! (session.Connection :> IAsyncDisposable).DisposeAsync()

            match! scheduler.TryAccept lostAfter with
            | Some _ -> failCheck "no further connection after DRAIN" "it connected again"
            | None -> ()
        }

let all = [ idle; busy; slowLink; lost; drain ]
