/// How every row begins: a connection, HELLO, WELCOME, READY.
module FsScheduler.Conformance.Handshake

open System
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Protocol

/// What a WELCOME says unless a row wants something else: beats now and then, and nobody is lost soon.
let welcome: Welcome = {
    protocol = Codec.protocolVersion
    session = "1"
    beat = 1_000L<ms>
    lostAfter = 60_000L<ms>
    maxPayload = 64L * 1024L * 1024L * 1L<B>
    maxResult = 16L * 1024L * 1024L * 1024L * 1L<B>
    keep = [||]
}

/// A connection has this long until its HELLO.
let private helloWithin = TimeSpan.FromSeconds 10.0

/// The HELLO of a connection.
let hello (link: WorkerConnection) : Task<Hello> =
    task {
        match! link.TryNext helloWithin with
        | Some(Heard.Hello hello) when hello.protocol <> Codec.protocolVersion ->
            return
                raise (
                    Unfit(
                        $"'protocol' {Codec.protocolVersion} in HELLO",
                        $"'protocol' {hello.protocol}"
                    )
                )
        | Some(Heard.Hello hello) when hello.role = Client ->
            return raise (Unfit("'role' \"worker\" in HELLO", "\"client\""))
        | Some(Heard.Hello hello) -> return hello
        | Some Heard.Closed
        | None ->
            return
                raise (
                    Unfit(
                        $"HELLO within {helloWithin.TotalSeconds} s",
                        "none came, or the connection was closed"
                    )
                )
        | Some _ -> return raise (Unfit("HELLO before anything else", "something else"))
    }

/// WELCOME, and the READY that follows. Results of what it may keep may come before.
let admit
    (rig: TestScheduler)
    (link: WorkerConnection)
    (hello: Hello)
    (welcome: Welcome)
    : Task<Session> =
    task {
        do! link.Send(FromScheduler.Welcome welcome)

        let early = ResizeArray<Heard>()
        let mutable slots = -1

        while slots < 0 do
            match! link.Next "READY" with
            | Heard.Ready given -> slots <- given
            | other -> early.Add other

        if slots = 0 then
            raise (Unfit("READY with at least one slot", "READY with none"))

        return Session(rig, link, hello, slots, early)
    }

/// The next connection, up to its READY.
let next (rig: TestScheduler) (expected: string) (welcome: Welcome) : Task<Session> =
    task {
        let! link = rig.Accept expected
        let! said = hello link
        return! admit rig link said welcome
    }

/// The first one.
let first (rig: TestScheduler) : Task<Session> = next rig "a connection" welcome

/// A row that is about one connection, from its READY to its last task.
let row (id: string) (checks: string) (body: Session -> Task<unit>) : Check = {
    id = id
    checks = checks
    run =
        fun rig ->
            task {
                let! session = first rig
                do! body session
                do! session.Finish()
            }
}
