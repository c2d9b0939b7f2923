module FsScheduler.Protocol.Tests.GateTests

open System.Net
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol

let private workerToken = "worker-0123456789"
let private clientToken = "client-0123456789"

let private tokensOf text =
    match Tokens.parse text with
    | Ok tokens -> tokens
    | Error reason -> failtest reason

let private guarded: AccessRules = {
    tokens =
        Some(tokensOf $"worker other-worker-0123\nworker {workerToken}\nclient {clientToken}\n")
    maxPayload = 1_000L<B>
    maxResult = 9_000L<B>
}

let private unguarded = { guarded with tokens = None }

let private hello role token = {
    protocol = 1
    role = role
    name = "n"
    token = token
    holding = [||]
    sharedFiles = false
}

let private attempt = { task = 1L<taskId>; number = 1 }

let private submit =
    ToScheduler.Submit {
        ref = ""
        name = "n"
        pipeline = ""
        priority = 0
        key = None
        want = Want.Result
    }

let private hellos = ToScheduler.Hello(hello Role.Client None)
let private success = ToScheduler.Result(attempt, Succeeded)
let private failure = ToScheduler.Result(attempt, Failed("", true))
let private stored = ToScheduler.Stored(attempt, 1L<B>)
let private unshared = ToScheduler.Unshared(attempt, "")

let private ofWorkers = [
    ToScheduler.Beat
    ToScheduler.Ready 1
    success
    failure
    stored
    unshared
]

let private ofClients = [
    submit
    ToScheduler.Status
    ToScheduler.Cancel 1L<taskId>
    ToScheduler.Retry 1L<taskId>
    ToScheduler.RetryWith(1L<taskId>, "lower")
    ToScheduler.RetryAllWith "lower"
]

let private frame message bytes : Result<Frame<ToScheduler>, FrameError> =
    Ok { message = message; bytes = bytes }

let private refused code bytes : Result<Frame<ToScheduler>, FrameError> =
    Error { code = code; message = "why"; bytes = bytes }

let private admit rules role message =
    AccessControl.admit rules role (frame message 0L<B>)

let private closes code verdict =
    match verdict with
    | Admission.Close(given, message) ->
        Expect.equal given code "the code"
        Expect.isNotEmpty message "the message"
    | other -> failtest $"not closed: {other}"

let private standings = [ PeerRole.Stranger; PeerRole.Worker; PeerRole.Client ]

let private opening =
    let admits role token =
        admit guarded PeerRole.Stranger (ToScheduler.Hello(hello role token))

    let workers = [ Role.Worker None; Role.Worker(Some [| "lower" |]) ]

    testList "a HELLO" [
        test "opens the role of its token" {
            for role in workers do
                let said = hello role (Some workerToken)
                let verdict = admit guarded PeerRole.Stranger (ToScheduler.Hello said)
                Expect.equal verdict (Admission.Open said) "a worker"

            Expect.equal
                (admits Role.Client (Some clientToken))
                (Admission.Open(hello Role.Client (Some clientToken)))
                "a client"

            Expect.equal
                (admits (Role.Worker None) (Some "other-worker-0123"))
                (Admission.Open(hello (Role.Worker None) (Some "other-worker-0123")))
                "another worker"
        }
        test "needs no token where none is asked for, and may have one" {
            for role in Role.Client :: workers do
                for token in [ None; Some "anything" ] do
                    let said = hello role token
                    let verdict = admit unguarded PeerRole.Stranger (ToScheduler.Hello said)
                    Expect.equal verdict (Admission.Open said) "open"
        }
        test "with no token, a wrong one, or one of the other role hears the same" {
            let verdicts = [
                for role in Role.Client :: workers do
                    let wrong = if role = Role.Client then workerToken else clientToken

                    for token in [ None; Some ""; Some wrong; Some(workerToken + "x"); Some "x" ] do
                        admits role token
            ]

            for verdict in verdicts do
                closes ErrorCode.Unauthorized verdict

            Expect.hasLength (List.distinct verdicts) 1 "nothing says which"
        }
        test "of another version hears which are spoken, whatever its token is" {
            for protocol in [ 0; 2; -1 ] do
                for rules in [ guarded; unguarded ] do
                    let said = { hello Role.Client None with protocol = protocol }
                    let verdict = admit rules PeerRole.Stranger (ToScheduler.Hello said)
                    closes ErrorCode.BadVersion verdict

                    match verdict with
                    | Admission.Close(_, message) -> Expect.stringEnds message ": 1" "which"
                    | other -> failtest $"{other}"
        }
        test "of another version is told from its line" {
            let line = """{"type":"HELLO","protocol":2,"role":{}}"""B
            let decoded = Codec.decodeToScheduler (System.ReadOnlySpan line)
            closes ErrorCode.BadVersion (AccessControl.admit unguarded PeerRole.Stranger decoded)
        }
        test "is not welcome twice" {
            for role in [ PeerRole.Worker; PeerRole.Client ] do
                closes ErrorCode.NotWelcome (admit unguarded role hellos)
        }
        test "must come first" {
            for message in ofWorkers @ ofClients do
                closes ErrorCode.NotWelcome (admit unguarded PeerRole.Stranger message)

            closes
                ErrorCode.NotWelcome
                (AccessControl.admit
                    unguarded
                    PeerRole.Stranger
                    (refused ErrorCode.UnknownType 0L<B>))
        }
    ]

let private roles =
    testList "a role" [
        test "says what it may" {
            for message in ofWorkers do
                Expect.equal (admit guarded PeerRole.Worker message) Admission.Deliver "a worker"

            for message in ofClients do
                Expect.equal (admit guarded PeerRole.Client message) Admission.Deliver "a client"
        }
        test "says nothing of the other's" {
            for message in ofClients do
                closes ErrorCode.NotWelcome (admit guarded PeerRole.Worker message)

            for message in ofWorkers do
                closes ErrorCode.NotWelcome (admit guarded PeerRole.Client message)
        }
    ]

let private sizes =
    let admit role message bytes =
        AccessControl.admit unguarded role (frame message bytes)

    testList "a payload" [
        test "of a SUBMIT is at most maxPayload" {
            Expect.equal (admit PeerRole.Client submit 1_000L<B>) Admission.Deliver "the most"
            closes ErrorCode.TooLarge (admit PeerRole.Client submit 1_001L<B>)
        }
        test "of a RESULT is at most maxResult" {
            for message in [ success; failure; stored; unshared ] do
                Expect.equal (admit PeerRole.Worker message 9_000L<B>) Admission.Deliver "the most"
                closes ErrorCode.TooLarge (admit PeerRole.Worker message 9_001L<B>)
        }
        test "in a file counts like one that comes with the message" {
            let stored size = ToScheduler.Stored(attempt, size)

            Expect.equal
                (admit PeerRole.Worker (stored 9_000L<B>) 0L<B>)
                Admission.Deliver
                "the most"

            closes ErrorCode.TooLarge (admit PeerRole.Worker (stored 9_001L<B>) 0L<B>)
        }
        test "of a message that has none is skipped, up to maxPayload" {
            Expect.equal
                (admit PeerRole.Worker ToScheduler.Beat 1_000L<B>)
                Admission.Deliver
                "skipped"

            closes ErrorCode.TooLarge (admit PeerRole.Worker ToScheduler.Beat 1_001L<B>)
            closes ErrorCode.TooLarge (admit PeerRole.Client ToScheduler.Status 1_001L<B>)
            closes ErrorCode.TooLarge (admit PeerRole.Stranger hellos 1_001L<B>)
        }
        test "means something for a SUBMIT and a success, and nothing elsewhere" {
            for message in hellos :: ofWorkers @ ofClients do
                let expected = message = submit || message = success
                Expect.equal (AccessControl.hasPayload message) expected $"{message}"
        }
        test "of something else does not change why it is not welcome" {
            closes ErrorCode.NotWelcome (admit PeerRole.Worker submit 1_001L<B>)
        }
    ]

let private errors =
    let admit role code bytes =
        AccessControl.admit guarded role (refused code bytes)

    testList "a refused line" [
        test "with a bad field is answered, and the connection goes on" {
            for role in standings do
                Expect.equal
                    (admit role ErrorCode.BadField 1_000L<B>)
                    (Admission.Answer(ErrorCode.BadField, "why"))
                    "answered"
        }
        test "of an unknown type is answered, and the connection goes on" {
            for role in [ PeerRole.Worker; PeerRole.Client ] do
                Expect.equal
                    (admit role ErrorCode.UnknownType 1_000L<B>)
                    (Admission.Answer(ErrorCode.UnknownType, "why"))
                    "answered"
        }
        test "with more to skip than the role may send is too large" {
            for code in [ ErrorCode.BadField; ErrorCode.UnknownType ] do
                closes ErrorCode.TooLarge (admit PeerRole.Client code 1_001L<B>)
                closes ErrorCode.TooLarge (admit PeerRole.Worker code 9_001L<B>)

                Expect.equal
                    (admit PeerRole.Worker code 9_000L<B>)
                    (Admission.Answer(code, "why"))
                    "it may have been a RESULT"

            closes ErrorCode.TooLarge (admit PeerRole.Stranger ErrorCode.BadField 1_001L<B>)
        }
        test "that is no frame closes" {
            for role in standings do
                closes ErrorCode.BadFrame (admit role ErrorCode.BadFrame 0L<B>)
        }
        test "of a type for the other side closes" {
            for role in standings do
                closes ErrorCode.NotWelcome (admit role ErrorCode.NotWelcome 0L<B>)
        }
    ]

let private times =
    testList "time" [
        test "is 10 s for a HELLO and 30 s of silence in a frame" {
            Expect.equal AccessControl.helloWithin 10_000L<ms> "HELLO"
            Expect.equal AccessControl.frameSilenceMax 30_000L<ms> "silence"
            closes ErrorCode.Timeout AccessControl.helloIsLate
            closes ErrorCode.Timeout AccessControl.frameIsStuck
        }
    ]

let private listening =
    let may (address: string) tokens =
        AccessControl.mayListen (IPAddress.Parse address) tokens

    testList "listening" [
        test "on this machine needs no tokens" {
            for address in
                [ "127.0.0.1"; "127.9.9.9"; "::1"; "::ffff:127.0.0.1"; "::ffff:127.9.9.9" ] do
                Expect.equal (may address None) (Ok()) address
        }
        test "beyond it does, and the refusal says what to do" {
            for address in [ "0.0.0.0"; "::"; "192.168.1.7"; "::ffff:10.0.0.1"; "fe80::1" ] do
                Expect.equal (may address guarded.tokens) (Ok()) "with tokens"

                match may address None with
                | Ok() -> failtest $"{address} without tokens"
                | Error reason ->
                    Expect.stringContains reason "--token-file" "what to do"
                    Expect.stringContains reason "127.0.0.1" "or else"
        }
    ]

[<Tests>]
let tests = testList "gate" [ opening; roles; sizes; errors; times; listening ]
