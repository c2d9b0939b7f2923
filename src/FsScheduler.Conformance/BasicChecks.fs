/// The checks that all others rely on: after a failed one, no other check is run.
module FsScheduler.Conformance.BasicChecks

open FsScheduler.Core

let private hello = {
    id = "hello"
    checks = "connects, and says HELLO within 10 s, with protocol 1 and the role of a worker"
    run =
        fun scheduler ->
            task {
                let! connection = scheduler.Accept "a connection"
                let! _ = Handshake.hello connection
                ()
            }
}

let private ready = {
    id = "ready"
    checks = "says READY with at least one slot once it is welcome"
    run =
        fun scheduler ->
            task {
                let! _ = Handshake.first scheduler
                ()
            }
}

let private plain =
    Handshake.check
        "process"
        "answers a PROCESS with its RESULT, and the same payload with the same"
    <| fun session ->
        task {
            let payload = utf8 "Olá, MUNDO!\nA Fila é LONGA.\n"
            let! expected = session.Expected payload
            let! reply = session.Run payload
            session.Compare("the result of a plain text", expected, reply)
            let! again = session.Run payload

            session.Compare(
                "the same again (name a stage that is deterministic with --stage)",
                reply,
                again
            )
        }

let all = [ hello; ready; plain ]
