/// What the encoder bounds, so that a line is never too long.
module FsScheduler.Protocol.Tests.CodecLimitTests

open System
open System.Buffers
open System.Text
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Protocol.Tests.CodecSupport

let private worker name = {
    session = 9_007_199_254_740_991L<sessionId>
    name = name
    slots = Int32.MaxValue
    held = Int32.MaxValue
    finished = Int64.MaxValue
    failed = Int64.MaxValue
}

let private status workers =
    let most = Int64.MaxValue

    FromScheduler.Status {
        queued = most
        running = most
        waiting = most
        publishing = most
        split = most
        quarantined = most
        finished = most
        cancelled = most
        idle = Int32.MaxValue
        busy = Int32.MaxValue
        uptime = most * 1L<ms>
        oldest = most * 1L<ms>
        finished10s = most
        finished60s = most
        trouble = Some(String('\001', 2_000))
        awaited = Some(String('\001', 2_000))
        missing = Array.replicate (2 * ProtocolLimits.missingMax) (String('\001', 200))
        heldBack = Array.replicate (2 * ProtocolLimits.heldBackMax) (String('\001', 200))
        workers = workers
    }

[<Tests>]
let tests =
    testList "codec limits" [
        test "writes texts as they are, and no newline" {
            let line =
                write
                    Codec.encodeToScheduler
                    (ToScheduler.Result({ task = 1L<taskId>; number = 1 }, Failed("é '<中\n", true)))
                    0L<B>

            Expect.equal
                line
                "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":false,\"error\":\"é '<中\\n\"}\n"
                "short"
        }
        test
            "writes half a surrogate pair, which may come out of a stage, as something that can be read" {
            let line =
                write
                    Codec.encodeFromScheduler
                    (FromScheduler.Error(ErrorCode.BadField, "\ud800x\udc00"))
                    0L<B>

            Expect.equal
                (messageOf (fromScheduler line))
                (FromScheduler.Error(ErrorCode.BadField, "\uFFFDx\uFFFD"))
                "replaced"
        }
        for piece in [ "a"; "é"; "\001"; "😀"; "\uFFFE" ] do
            test
                $"a STATUS of the most workers with names of {Uri.EscapeDataString piece} in one line" {
                let name = String.replicate (200 / Encoding.UTF8.GetByteCount piece) piece

                let line =
                    write
                        Codec.encodeFromScheduler
                        (status (Array.replicate 300 (worker name)))
                        0L<B>

                Expect.isLessThanOrEqual
                    (Encoding.UTF8.GetByteCount line)
                    Codec.lineBytesMax
                    "its length"

                Expect.equal (line.Split("\"held\"").Length - 1) 200 "the first workers"
            }
        for piece in [ "a"; "\001"; "x😀" ] do
            test $"writes the start of a text of {Uri.EscapeDataString piece} that is too long" {
                let long = String.replicate 70_000 piece

                let cut =
                    messageOf (
                        fromScheduler (
                            write
                                Codec.encodeFromScheduler
                                (FromScheduler.Error(ErrorCode.BadField, long))
                                0L<B>
                        )
                    )

                match cut with
                | FromScheduler.Error(_, message) ->
                    Expect.isTrue (long.StartsWith(message, StringComparison.Ordinal)) "its start"
                    Expect.isTrue (message.Length = 4_096 || message.Length = 4_095) "its length"
                | other -> failtest $"{other}"
            }
        test "reads a long error of a worker cut" {
            let line =
                $"""{{"type":"RESULT","task":1,"attempt":1,"ok":false,"error":"{a 4_095}😀"}}"""

            let attempt = { task = 1L<taskId>; number = 1 }

            Expect.equal
                (messageOf (toScheduler line))
                (ToScheduler.Result(attempt, Failed(a 4_095, true)))
                "cut"
        }
        test "allocates nothing but messages" {
            let line = """{"type":"RESULT","task":1,"attempt":1,"ok":true,"bytes":1}"""B
            let output = ArrayBufferWriter<byte> 10_000
            let welcome = FromScheduler.Accepted("a1", 1L<taskId>)

            let round () =
                output.ResetWrittenCount()
                Codec.encodeFromScheduler output welcome 0L<B>
                Codec.decodeToScheduler (ReadOnlySpan line) |> Result.isOk |> ignore

            for _ in 1..100 do
                round ()

            let before = GC.GetAllocatedBytesForCurrentThread()

            for _ in 1..100 do
                round ()

            let each = (GC.GetAllocatedBytesForCurrentThread() - before) / 100L
            Expect.isLessThanOrEqual each 64L "bytes a message"
        }
    ]
