/// Checks of how a worker reads frames: cut anywhere, and with any content.
module FsScheduler.Conformance.FrameChecks

open System
open System.Text.Json
open FsScheduler.Core

let private text = utf8 "Olá, MUNDO: AÇÃO é só o COMEÇO.\n"

/// Long enough for the worker to read the bytes before the pause.
let private pause = TimeSpan.FromMilliseconds 40.0

let private byteByByte =
    Handshake.check "byte-by-byte" "takes a frame that comes one byte at a time"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let attempt = session.NewAttempt()
            let pieces = session.Frame(attempt, text) |> Seq.map Array.singleton
            do! session.Connection.SendPieces(pieces, TimeSpan.FromMilliseconds 0.1)
            do! session.Check("the result of a frame in single bytes", attempt, expected)
        }

let private manyFrames =
    Handshake.check "many-frames" "takes several frames in one read"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let beat = utf8 "{\"type\":\"BEAT\"}\n"
            let first = session.NewAttempt()
            let second = session.NewAttempt()
            let cancel = utf8 $"{{\"type\":\"CANCEL\",\"task\":{first.task},\"attempt\":1}}\n"

            // CANCEL frees the slot: one task at a time.
            do!
                session.Connection.Send(
                    Array.concat [
                        beat
                        session.Frame(first, utf8 "UM\n")
                        beat
                        cancel
                        beat
                        session.Frame(second, text)
                        beat
                    ]
                )

            do! session.Check("the result of the last of several frames", second, expected)
        }

let private splitCharacter =
    Handshake.check "split-character" "takes a line that is cut in the middle of a character"
    <| fun session ->
        task {
            let! expected = session.Expected text
            let attempt = session.NewAttempt()
            let frame = session.Frame(attempt, text)
            let rocket = frame.AsSpan().IndexOf(ReadOnlySpan(utf8 "🚀")) + 2
            let accent = frame.Length - text.Length + text.AsSpan().IndexOf 0xC3uy + 1

            do!
                session.Connection.SendPieces(
                    [ frame[.. rocket - 1]; frame[rocket .. accent - 1]; frame[accent..] ],
                    pause
                )

            do! session.Check("the result of a frame cut within characters", attempt, expected)
        }

let private quoted (text: string) = JsonSerializer.Serialize text

/// A PROCESS without its payload, with more fields at the end.
let private line (session: Session) (attempt: Attempt) (more: string) =
    $"{{\"type\":\"PROCESS\",\"task\":{attempt.task},\"attempt\":{attempt.number},\"name\":\"vazio.txt\",\"stages\":[{quoted session.Stage}],\"timeoutMs\":300000{more}}}"

let private empty =
    Handshake.check
        "empty-payload"
        "takes a payload of no bytes, with 'bytes':0 and without 'bytes'"
    <| fun session ->
        task {
            let! expected = session.Expected [||]

            for more in [ ""; ",\"bytes\":0" ] do
                let attempt = session.NewAttempt()

                do! session.Connection.Send(session.Line(attempt, line session attempt more, [||]))

                let what = if more = "" then "without 'bytes'" else "with 'bytes':0"
                do! session.Check($"the result of no payload, {what}", attempt, expected)
        }

/// 64 MiB take longer than other payloads.
let private patiences = 4.0

let private large =
    Handshake.check "large-payload" "takes a payload of 64 MiB"
    <| fun session ->
        task {
            // Lines of 64 bytes in ASCII: other characters, as in other checks, slow stages down.
            let block = "Uma linha de 64 bytes, e o resto dela: 0123456789 ABCDEFGHIJKLM\n"B
            let times = 64 * 1024 * 1024 / block.Length

            let repeated (block: byte[]) =
                let whole = Array.zeroCreate<byte>(times * block.Length)

                for index in 0 .. times - 1 do
                    Buffer.BlockCopy(block, 0, whole, index * block.Length, block.Length)

                whole

            let! attempt = session.Assign(repeated block)
            let! reply = session.ReplyWithin(attempt, patiences)

            match KnownStage.tryFind session.Stage |> Option.map (fun known -> known block) with
            | Some(Done result) ->
                session.Compare("the result of 64 MiB", Done(repeated result), reply)
            | Some(Refused _)
            | None -> ()
        }

/// Every byte, all kinds of line ends, and text that looks like frames.
let private hostile (session: Session) =
    Array.concat [
        Array.init 256 byte
        utf8 "\n\n\r\n\r"
        utf8 (line session { task = 990_001L<taskId>; number = 1 } "" + "\n")
        utf8 "{\"type\":\"CANCEL\",\"task\":1,\"attempt\":1}\n\n{\"bytes\":100}\n"
        Array.init 256 (fun index -> byte (255 - index))
    ]

let private binary =
    Handshake.check
        "binary-payload"
        "takes a payload of any bytes, such as line ends, and text that looks like frames"
    <| fun session ->
        task {
            let payload = hostile session
            let! expected = session.Expected payload
            let! reply = session.Run payload
            session.Compare("the result of a payload with every byte", expected, reply)
        }

let private badInput =
    Handshake.check
        "bad-input"
        "says ok:false for a payload that its stage cannot process, and goes on"
    <| fun session ->
        task {
            let payload = [| 'A'B; 0xFFuy; 'B'B |]
            let! reply = session.Run payload

            match KnownStage.tryFind session.Stage, reply with
            | Some known, _ ->
                session.Compare("the answer to a payload that is not UTF-8", known payload, reply)
            | None, Refused _ -> ()
            | None, Done _ ->
                raise (
                    CheckNotApplicable
                        $"'{session.Stage}' takes payloads that are not UTF-8; no bad input for it is known"
                )
        }

/// A check of a PROCESS with a line of this text.
let private lineCheck id checks (what: string) (lineOf: Session -> Attempt -> string) =
    Handshake.check id checks (fun session ->
        task {
            let! expected = session.Expected text
            let attempt = session.NewAttempt()
            do! session.Connection.Send(session.Line(attempt, lineOf session attempt, text))
            do! session.Check($"the result of a frame {what}", attempt, expected)
        })

let private longLine =
    lineCheck
        "long-line"
        "takes a line of 65,536 bytes with unknown fields of every kind"
        "with a long line"
        (fun session attempt ->
            let deep = String.replicate 14 "[" + String.replicate 14 "]"

            let unknown =
                String.concat "" [
                    ",\"x1\":null,\"x2\":true,\"x3\":false,\"x4\":-12.5e-3,\"x5\":9007199254740991"
                    ",\"x6\":\"{\\\"type\\\":\\\"BEAT\\\",\\\"bytes\\\":7}\""
                    ",\"x7\":{\"bytes\":999,\"task\":1,\"type\":\"CANCEL\",\"list\":[{\"ok\":[]}]}"
                    $",\"x8\":{deep},\"x9\":[1,\"dois\",null,{{\"a\":[]}}],\"\":0"
                    $",\"bytes\":{text.Length}"
                ]

            let length = utf8 (line session attempt (unknown + ",\"x\":\"\"")) |> _.Length
            let filler = String('x', ProtocolLimits.lineBytesMax - 1 - length)
            line session attempt (unknown + $",\"x\":\"{filler}\""))

let private anyOrder =
    lineCheck
        "any-order"
        "takes fields in any order, with blanks; of two fields of one name, the last"
        "in another order"
        (fun session attempt ->
            $"{{ \"bytes\" : 3, \"task\": 77, \"timeoutMs\":300000,\t\"stages\":[ {quoted session.Stage} ], \"attempt\":1 , \"type\":\"PROCESS\", \"name\":\"a\", \"task\":{attempt.task}, \"bytes\": {text.Length} }}")

let private escapes =
    lineCheck
        "escapes"
        "takes escapes in texts and names of fields: \\u, surrogate pairs, quotes"
        "with escapes"
        (fun session attempt ->
            let stage =
                session.Stage
                |> Seq.map (fun letter -> $"\\u{int letter:x4}")
                |> String.concat ""

            $"{{\"type\":\"\\u0050ROCESS\",\"task\":{attempt.task},\"\\u0061ttempt\":1,\"name\":\"\\u0061v\\u00F3 \\ud83d\\ude80 \\\"b\\\" \\\\ \\/ 🚀\",\"stages\":[\"{stage}\"],\"timeoutMs\":300000,\"bytes\":{text.Length}}}")

let private unknownType =
    Handshake.check
        "unknown-type"
        "skips messages of unknown types with their payloads, and payloads of known types"
    <| fun session ->
        task {
            let trap = utf8 (line session { task = 990_002L<taskId>; number = 1 } "" + "\n")

            for opening in
                [
                    "{\"type\":\"GOSSIP\",\"task\":1"
                    "{\"type\":\"BEAT\""
                    "{\"type\":\"CANCEL\",\"task\":990003,\"attempt\":1"
                ] do
                do! session.Connection.Send(utf8 (opening + "}\n"))
                let whole = utf8 $"{opening},\"bytes\":{trap.Length}}}\n"
                do! session.Connection.Send(Array.append whole trap)
                let! expected = session.Expected text
                let! reply = session.Run text
                session.Compare("a task after a message to be skipped", expected, reply)
        }

let all = [
    byteByByte
    manyFrames
    splitCharacter
    empty
    large
    binary
    badInput
    longLine
    anyOrder
    escapes
    unknownType
]
