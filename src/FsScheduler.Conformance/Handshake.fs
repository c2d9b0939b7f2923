/// The start of every check: a connection, HELLO, WELCOME, READY.
module FsScheduler.Conformance.Handshake

open System
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Protocol

/// The WELCOME of most checks.
let welcome: Welcome = {
    protocol = Codec.protocolVersion
    session = "1"
    beat = 1_000L<ms>
    lostAfter = 60_000L<ms>
    maxPayload = 64L * 1024L * 1024L * 1L<B>
    maxResult = 16L * 1024L * 1024L * 1024L * 1L<B>
    keep = [||]
}

/// The longest time from a connection to its HELLO.
let private helloWithin = TimeSpan.FromSeconds 10.0

let hello (connection: WorkerConnection) : Task<Hello> =
    task {
        match! connection.TryNext helloWithin with
        | Some(WorkerMessage.Hello hello) when hello.protocol <> Codec.protocolVersion ->
            return
                failCheck
                    $"'protocol' {Codec.protocolVersion} in HELLO"
                    $"'protocol' {hello.protocol}"
        | Some(WorkerMessage.Hello hello) when hello.role = Role.Client ->
            return failCheck "'role' \"worker\" in HELLO" "\"client\""
        | Some(WorkerMessage.Hello hello) -> return hello
        | Some WorkerMessage.Closed
        | None ->
            return
                failCheck
                    $"HELLO within {helloWithin.TotalSeconds} s"
                    "none came, or the connection was closed"
        | Some _ -> return failCheck "HELLO before anything else" "something else"
    }

/// Sends WELCOME, and waits for READY. Results of kept tasks may come before.
let admit
    (scheduler: TestScheduler)
    (connection: WorkerConnection)
    (hello: Hello)
    (welcome: Welcome)
    : Task<Session> =
    task {
        do! connection.Send(FromScheduler.Welcome welcome)

        let early = ResizeArray<WorkerMessage>()
        let mutable slots = -1

        while slots < 0 do
            match! connection.Next "READY" with
            | WorkerMessage.Ready given -> slots <- given
            | other -> early.Add other

        if slots = 0 then
            failCheck "READY with at least one slot" "READY with none"

        return Session(scheduler, connection, hello, slots, early)
    }

/// The next connection, up to READY.
let next (scheduler: TestScheduler) (expected: string) (welcome: Welcome) : Task<Session> =
    task {
        let! connection = scheduler.Accept expected
        let! said = hello connection
        return! admit scheduler connection said welcome
    }

let first (scheduler: TestScheduler) : Task<Session> = next scheduler "a connection" welcome

/// A check of one connection, from READY to its last task.
let check (id: string) (checks: string) (body: Session -> Task<unit>) : Check = {
    id = id
    checks = checks
    run =
        fun scheduler ->
            task {
                let! session = first scheduler
                do! body session
                do! session.Finish()
            }
}
