module FsScheduler.Protocol.Tests.CodecRefusalTests

open System
open System.Text
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Protocol.Tests.CodecSupport

let private refusal (decoded: Result<Frame<'message>, FrameError>) =
    match decoded with
    | Ok frame -> failtest $"not refused: {frame}"
    | Error error -> error

let private badFrame name (line: byte[]) =
    test name {
        let errors = [ refusal (decodeToScheduler line); refusal (decodeFromScheduler line) ]

        for error in errors do
            Expect.equal error.code ErrorCode.BadFrame "its code"
            Expect.equal error.bytes 0L<B> "nothing to skip"
    }

let private badFrameText (line: string) =
    badFrame line (Encoding.UTF8.GetBytes line)

let private badFrames =
    testList "is not a frame" [
        badFrame "nothing" [||]
        badFrame
            "a byte order mark"
            (Array.append [| 0xEFuy; 0xBBuy; 0xBFuy |] """{"type":"BEAT"}"""B)
        badFrame
            "a byte that is not UTF-8, in a string"
            (Array.concat [ "{\"type\":\"BEAT\",\"x\":\""B; [| 0xFFuy |]; "\"}"B ])
        badFrame
            "an overlong NUL"
            (Array.concat [ "{\"type\":\"BEAT\",\"x\":\""B; [| 0xC0uy; 0x80uy |]; "\"}"B ])
        badFrame
            "a surrogate in UTF-8"
            (Array.concat [ "{\"type\":\"BEAT\",\"x\":\""B; [| 0xEDuy; 0xA0uy; 0x80uy |]; "\"}"B ])
        badFrame
            "a line that is too long"
            (Encoding.UTF8.GetBytes("{\"type\":\"BEAT\",\"x\":\"" + a 65_536 + "\"}"))
        badFrame
            "nested too deep"
            (Encoding.UTF8.GetBytes(
                "{\"type\":\"BEAT\",\"x\":" + String('[', 1_000) + String(']', 1_000) + "}"
            ))
        yield!
            List.map badFrameText [
                " "
                "BEAT"
                "null"
                "\"BEAT\""
                "[{\"type\":\"BEAT\"}]"
                """{"type":"BEAT"}}"""
                """{"type":"BEAT"} {"type":"BEAT"}"""
                """{"type":"BEAT"} x"""
                """{"type":"BEAT" """
                """{"type":"BEAT",}"""
                """{"type":"BEAT"/**/}"""
                """{type:"BEAT"}"""
                """{'type':'BEAT'}"""
                """{"type":"BEAT","x":01}"""
                """{"type":"BEAT","x":NaN}"""
                """{"type":"BEAT","x":"\ud800"}"""
                """{"type":"BEAT","x":"\udc00\ud800"}"""
                """{"type":"BEAT","x":"\uD83D \uDE00"}"""
                """{"type":"BEAT","\ud83dx":1}"""
                """{"type":"BEAT","x":"\u00g0"}"""
                """{"type":"BEAT","bytes":-1}"""
                """{"type":"BEAT","bytes":1.0}"""
                """{"type":"BEAT","bytes":1e3}"""
                """{"type":"BEAT","bytes":"12"}"""
                """{"type":"BEAT","bytes":null}"""
                """{"type":"BEAT","bytes":9007199254740992}"""
                """{"type":"BEAT","bytes":99999999999999999999}"""
            ]
    ]

let private badField decode (field: string) value line =
    test $"'{field}': {ProtocolLimits.cut 40 value}" {
        let error = refusal (decode line)
        Expect.equal error.code ErrorCode.BadField "its code"
        Expect.stringStarts error.message $"'{field}' " "its message"
        Expect.equal error.bytes 7L<B> "the payload to skip"
    }

/// The fields of a message with `bytes`, each of which is left out or replaced in turn.
let private badFields decode kind (fields: (string * string * string list) list) =
    let line replaced value =
        fields
        |> List.choose (fun (name, good, _) ->
            let value = if name = replaced then value else Some good
            value |> Option.map (fun value -> $"\"{name}\":{value}"))
        |> fun fields -> $"\"type\":\"{kind}\"" :: "\"bytes\":7" :: fields
        |> String.concat ","
        |> fun fields -> $"{{{fields}}}"

    testList kind [
        test "is good as it is" { messageOf (decode (line "" None)) |> ignore }
        for name, _, bad in fields do
            for value in bad do
                line name (if value = "" then None else Some value)
                |> badField decode name value
    ]

/// "" stands for a field that is missing.
let private integers = [
    "-1"
    "1.5"
    "1e2"
    "\"1\""
    "null"
    "true"
    "[]"
    "{}"
    "9007199254740992"
]

let private texts = [ "1"; "null"; "true"; "[]"; "{\"a\":1}" ]
let private quoted text = $"\"{text}\""

let private idValues = "" :: "0" :: integers
let private attemptField = "attempt", "1", "2147483648" :: idValues

let private refusedFields =
    testList "refuses the field" [
        testList "to a scheduler" [
            badFields toScheduler "HELLO" [
                "protocol", "1", [ ""; "1.5"; "\"1\""; "null" ]
                "role", "\"worker\"", "" :: quoted "boss" :: quoted "" :: texts
                "name", "\"n\"", "" :: quoted (a 201) :: quoted (String.replicate 101 "é") :: texts
                "stages",
                "[\"lower\"]",
                [
                    yield! [ "\"lower\""; "null"; "{}"; "[1]"; "[null]"; "[[]]"; "[\"\"]" ]
                    yield! [ "[\"a b\"]"; "[\"-a\"]"; "[\".a\"]"; "[\"a:b\"]"; "[\"é\"]" ]
                    yield! [ "[\"exec\"]"; "[\"exec-lines\"]"; "[\"exec:\"]"; "[\"exec:a,b\"]" ]
                    yield! [ "[\"exec:a\\u0001\"]"; "[\"exec :a\"]"; "[\"run:a\"]" ]
                    $"[\"exec:{a 201}\"]"
                    "[" + String.concat "," (Seq.replicate 50 $"\"exec-file:{a 200}\"") + "]"
                    $"[\"{a 51}\"]"
                    "[" + String.replicate 1_000 "\"a\"," + "\"a\"]"
                ]
                "token", "\"t\"", quoted (a 1_001) :: texts
                "sharedFiles", "true", [ "0"; "\"true\""; "null" ]
            ]
            badFields toScheduler "READY" [ "slots", "65536", "" :: "65537" :: integers ]
            badFields toScheduler "RESULT" [
                "task", "9007199254740991", idValues
                attemptField
                "ok", "false", [ ""; "0"; "\"true\""; "null" ]
                "error", "\"e\"", texts
                "retry", "true", [ "0"; "\"true\""; "null" ]
                "unshared", "false", [ "0"; "\"true\""; "null" ]
                "blame", "\"task\"", [ "\"\""; "\"Worker\""; "true"; "null" ]
            ]
            test "of a RESULT that succeeded, 'stored' is a size" {
                for value in [ "-1"; "0.5"; "\"1\""; "true"; "null" ] do
                    let line =
                        $"""{{"type":"RESULT","task":1,"attempt":1,"ok":true,"stored":{value}}}"""

                    match toScheduler line with
                    | Error { code = ErrorCode.BadField; message = message } ->
                        Expect.stringContains message "'stored'" "which"
                    | other -> failtest $"{other}"
            }
            badFields toScheduler "SUBMIT" [
                "ref", "\"r\"", "" :: quoted (a 201) :: texts
                "name", "\"n\"", "" :: texts
                "pipeline", "\"lower\"", quoted (a 8_001) :: texts
                "priority", "-1000000", [ "1000001"; "-1000001"; "0.5"; "\"1\""; "null" ]
                "key", "\"k\"", quoted (a 201) :: texts
                "want", "\"none\"", quoted "Result" :: quoted "nothing" :: texts
            ]
            badFields toScheduler "CANCEL" [ "task", "1", idValues ]
            badFields toScheduler "RETRY" [ "task", "1", idValues ]
        ]
        testList "from a scheduler" [
            badFields fromScheduler "WELCOME" [
                "protocol", "1", "" :: integers
                "session", "\"s\"", "" :: quoted (a 201) :: texts
                "beatMs", "1", "" :: integers
                "lostAfterMs", "1", "" :: integers
                "maxPayload", "1", "" :: integers
                "maxResult", "1", "" :: integers
            ]
            badFields fromScheduler "PROCESS" [
                "task", "1", idValues
                attemptField
                "name", "\"n\"", "" :: quoted (a 2_001) :: texts
                "stages", "[]", [ ""; "\"lower\""; "null"; "[1]"; "[[\"a\"]]" ]
                "timeoutMs", "1", "" :: integers
                "from", "\"/a\"", quoted (a 401) :: texts
                "start", "0", "" :: integers
                "size", "0", "" :: integers
                "to", "\"/b\"", "" :: quoted (a 401) :: texts
                "length", "0", "" :: integers
                "modifiedUs", "0", integers
            ]
            badFields fromScheduler "CANCEL" [ "task", "1", idValues; attemptField ]
            badFields fromScheduler "ACCEPTED" [
                "ref", "\"r\"", "" :: quoted (a 201) :: texts
                "task", "1", idValues
            ]
            badFields fromScheduler "DONE" [
                "ref", "\"r\"", quoted (a 201) :: texts
                "task", "1", idValues
                "ok", "false", [ ""; "null" ]
                "error", "\"e\"", texts
                "outcome", "\"cancelled\"", quoted "lost" :: texts
                "attempts", "0", "" :: integers
            ]
            badFields fromScheduler "REJECTED" [
                "ref", "\"r\"", "" :: texts
                "code", "\"busy\"", "" :: quoted "lazy" :: texts
                "message", "\"m\"", "" :: texts
            ]
            badFields fromScheduler "ERROR" [
                "code", "\"timeout\"", "" :: quoted "busy" :: texts
                "message", "\"m\"", "" :: texts
            ]
            badFields fromScheduler "STATUS" [
                for name in
                    "queued running waiting publishing quarantined finished cancelled idle busy uptimeMs oldestMs finished10s finished60s"
                        .Split
                        ' ' do
                    name, "0", "" :: integers
                "workers", "[]", [ ""; "null"; "{}"; "[1]"; "[{}]"; "[null]" ]
            ]
        ]
        badField toScheduler "type" "" """{"bytes":7}"""
        badField toScheduler "type" "1" """{"bytes":7,"type":1}"""
        badField toScheduler "type" "null" """{"bytes":7,"type":null}"""
    ]

let private peculiar =
    testList "reads" [
        test "another version of HELLO, whatever else it has" {
            let said = toScheduler """{"type":"HELLO","protocol":2,"role":["observer"]}"""

            Expect.equal
                (messageOf said)
                (ToScheduler.Hello {
                    protocol = 2
                    role = Role.Client
                    name = ""
                    token = None
                    holding = [||]
                    sharedFiles = false
                })
                "its version"
        }
        test "the HELLO of a client without looking at fields that workers have" {
            let said =
                toScheduler
                    """{"type":"HELLO","protocol":1,"role":"client","name":"c","stages":0,"holding":[[1,2]],"sharedFiles":"x"}"""

            Expect.equal
                (messageOf said)
                (ToScheduler.Hello {
                    protocol = 1
                    role = Role.Client
                    name = "c"
                    token = None
                    holding = [||]
                    sharedFiles = false
                })
                "a client"
        }
        test "a failure that says no more as one to try again" {
            let said = toScheduler """{"type":"RESULT","task":1,"attempt":1,"ok":false}"""
            let attempt = { task = 1L<taskId>; number = 1 }
            Expect.equal (messageOf said) (ToScheduler.Result(attempt, Failed("", true))) "read"
        }
        test "a success without looking at an error beside it" {
            let said =
                toScheduler
                    """{"type":"RESULT","task":1,"attempt":1,"ok":true,"error":null,"retry":0}"""

            let attempt = { task = 1L<taskId>; number = 1 }
            Expect.equal (messageOf said) (ToScheduler.Result(attempt, Succeeded)) "read"
        }
        test "the last of two fields with one name" {
            let said =
                toScheduler
                    """{"slots":"x","type":"BEAT","bytes":-1,"slots":3,"bytes":5,"type":"READY"}"""

            Expect.equal said (Ok { message = ToScheduler.Ready 3; bytes = 5L<B> }) "read"
        }
        test "a pipeline that was refused is refused again" {
            let line = $"""{{"type":"SUBMIT","ref":"","name":"n","pipeline":"{a 8_001}"}}"""

            for _ in 1..3 do
                Expect.equal (refusal (toScheduler line)).code ErrorCode.BadField "refused"
        }
        test "one pipeline after the other" {
            for pipeline in [ "lower"; "lower"; "upper"; ""; "lowex"; "lower\\n"; "lower" ] do
                let line = $"""{{"type":"SUBMIT","ref":"","name":"n","pipeline":"{pipeline}"}}"""

                match messageOf (toScheduler line) with
                | ToScheduler.Submit submit ->
                    Expect.equal submit.pipeline (pipeline.Replace("\\n", "\n")) "its own"
                | other -> failtest $"{other}"
        }
        test "equal stages as one instance" {
            let line =
                """{"type":"PROCESS","task":1,"attempt":1,"name":"n","stages":["a","b:c"],"timeoutMs":1}"""

            match messageOf (fromScheduler line), messageOf (fromScheduler line) with
            | FromScheduler.Process one, FromScheduler.Process other ->
                Expect.isTrue (Object.ReferenceEquals(one.stages, other.stages)) "shared"
            | other -> failtest $"{other}"
        }
    ]

let private types =
    testList "tells a type" [
        test "that nobody knows" {
            let error = refusal (toScheduler """{"type":"DANCE","bytes":7}""")

            Expect.equal
                error
                {
                    code = ErrorCode.UnknownType
                    message = "unknown type 'DANCE'"
                    bytes = 7L<B>
                }
                "refused"
        }
        test "in lower case, which nobody knows" {
            Expect.equal
                (refusal (toScheduler """{"type":"beat"}""")).code
                ErrorCode.UnknownType
                "refused"
        }
        for kind in [ "WELCOME"; "PROCESS"; "ACCEPTED"; "DONE"; "REJECTED"; "ERROR" ] do
            test $"{kind}, which only a scheduler may send" {
                let error = refusal (toScheduler $"""{{"type":"{kind}","bytes":7}}""")
                Expect.equal error.code ErrorCode.NotWelcome "refused"
                Expect.stringStarts error.message kind "named"
            }
        for kind in [ "HELLO"; "READY"; "RESULT"; "SUBMIT"; "RETRY" ] do
            test $"{kind}, which no scheduler may send" {
                let error = refusal (fromScheduler $"""{{"type":"{kind}"}}""")
                Expect.equal error.code ErrorCode.NotWelcome "refused"
            }
    ]

[<Tests>]
let tests = testList "codec refusals" [ badFrames; refusedFields; peculiar; types ]
