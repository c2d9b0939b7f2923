module FsScheduler.Protocol.Tests.FrameReaderTests

open System
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.TestKit
open FsScheduler.Protocol.Tests.FrameSupport

[<Tests>]
let tests =
    testList "frames.reading" [
        for cutAt in [ 1; 7; 1_000; 65_536; 200_000 ] do
            testTask
                $"a line of the greatest length is read, a longer one is not; reads of {cutAt} bytes" {
                let line length =
                    let start = "{\"type\":\"BEAT\",\"x\":\""
                    let fill = String('x', length - start.Length - "\"}\n".Length)
                    utf8 $"{start}{fill}\"}}\n"

                let chunks length =
                    Array.append (line length) (utf8 "{\"type\":\"BEAT\"}\n")
                    |> Array.chunkBySize cutAt

                let! struct (received, errors) =
                    read toScheduler 100L<B> nowhere (chunks Codec.lineBytesMax)

                Expect.hasLength received 2 "both"
                Expect.isEmpty errors "no errors"

                let! struct (received, errors) =
                    read toScheduler 100L<B> nowhere (chunks (Codec.lineBytesMax + 1))

                Expect.isEmpty received "neither"
                Expect.equal [ for error in errors -> error.code ] [ ErrorCode.BadFrame ] "once"
            }

        testTask "what comes before a line that is too long is delivered" {
            let bytes = Array.append (utf8 "{\"type\":\"BEAT\"}\n") (Array.create 70_000 0uy)
            let! struct (received, errors) = read toScheduler 100L<B> nowhere [ bytes ]
            Expect.hasLength received 1 "the BEAT"
            Expect.hasLength errors 1 "the other"
        }

        testTask "a frame that is refused is skipped with its payload" {
            let bytes =
                utf8
                    "{\"type\":\"NEW\",\"bytes\":3}\nabc{\"type\":\"READY\",\"slots\":\"x\",\"bytes\":2}\n\n\n{\"type\":\"BEAT\"}\n"

            for size in [ 1; 5; 1_000 ] do
                let! struct (received, errors) =
                    read toScheduler 100L<B> nowhere (Array.chunkBySize size bytes)

                Expect.equal
                    [ for error in errors -> error.code ]
                    [ ErrorCode.UnknownType; ErrorCode.BadField ]
                    "both"

                Expect.equal
                    [ for frame in received -> frame.message ]
                    [ ToScheduler.Beat ]
                    "goes on"
        }

        testTask "a large payload that nobody wants is skipped" {
            let bytes =
                utf8
                    "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":5}\n\n\n\n\n\n{\"type\":\"BEAT\"}\n"

            for size in [ 1; 60; 1_000 ] do
                let! struct (received, _) =
                    read toScheduler 4L<B> nowhere (Array.chunkBySize size bytes)

                Expect.equal
                    [ for frame in received -> frame.message ]
                    [ ToScheduler.Beat ]
                    "only this"
        }

        testTask "a stream that ends within a payload leaves no file and no message" {
            use folder = new TempFolder()

            let line =
                "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":500}\n"

            for length in [ 0; 1; 50; 499 ] do
                let bytes = utf8 (line + String('x', length))
                let mutable asked = 0

                let spool _ : string | null =
                    asked <- asked + 1
                    folder.At "in"

                for memoryMax in [ 100L<B>; 1_000L<B> ] do
                    let! struct (received, _) =
                        read toScheduler memoryMax spool (Array.chunkBySize 90 bytes)

                    Expect.isEmpty received "nothing"
                    Expect.isEmpty (Directory.GetFiles folder.Path) "no file"

                Expect.equal asked 1 "spooled once"
        }

        testTask "a payload that cannot be stored is told, and the stream goes on" {
            use folder = new TempFolder()

            let bytes =
                utf8 (
                    "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":500}\n"
                    + String('\n', 500)
                    + "{\"type\":\"BEAT\"}\n"
                )

            // A folder that is not there, and one where a file should be.
            for path in [ "missing/in"; "." ] do
                let! struct (received: Received<ToScheduler> list, errors) =
                    read toScheduler 100L<B> (fun _ -> folder.At path) (Array.chunkBySize 90 bytes)

                Expect.isEmpty errors "no errors"
                Expect.hasLength received 2 "both messages"
                Expect.isNotNull received[0].failure "why"
                Expect.isEmpty received[0].bytes "without the payload"
                Expect.equal received[1].message ToScheduler.Beat "in step"
        }

        testTask "what the disk refuses is tried again for as long as the retry says so" {
            use folder = new TempFolder()
            let path = folder.At "later/in"
            let refusals = List<struct (Size * exn)>()

            let retry =
                StorageRetry<ToScheduler>(fun _ at size refusal ->
                    Expect.equal at path "where"
                    refusals.Add(struct (size, refusal))

                    if refusals.Count = 2 then
                        Directory.CreateDirectory(folder.At "later") |> ignore

                    Task.FromResult true)

            let line =
                "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":500}\n"

            let stream = new MemoryStream(utf8 (line + String('x', 500)))

            let reader =
                FrameReader<ToScheduler>(
                    PipeReader.Create stream,
                    toScheduler,
                    Func<_, _>(fun _ -> FrameHandling.Take),
                    Func<_, _>(fun _ -> Task.FromResult<string | null> path),
                    100L<B>,
                    Clock(HandTime()),
                    retry = retry
                )

            let arrivals = List<IncomingMessage<ToScheduler>>()
            let! _ = reader.ReadAsync(arrivals, CancellationToken.None)
            let! _ = reader.ReadAsync(arrivals, CancellationToken.None)
            let arrival = receive (Seq.exactlyOne arrivals)
            Expect.isNull arrival.failure "no trouble"
            Expect.equal arrival.bytes (utf8 (String('x', 500))) "all of it"

            Expect.equal
                [ for struct (size, _) in refusals -> size ]
                [ 500L<B>; 500L<B> ]
                "refusals"
        }

        testTask "only the peer's silence counts, and only within a frame" {
            let time = HandTime()
            let pipe, reader, _ = pipeReader toScheduler 100L<B> nowhere (Clock time)

            let arrivals = List<IncomingMessage<ToScheduler>>()

            let next () =
                reader.ReadAsync(arrivals, CancellationToken.None)

            let send (text: string) =
                task {
                    let! _ = pipe.Writer.WriteAsync(ReadOnlyMemory(utf8 text))
                    ()
                }

            let first = next ()
            time.Advance(seconds 40.0)
            Expect.equal reader.StuckFor 0L<ms> "no frame has begun"
            do! send "{\"type\":\"BEAT\"}\n{\"type\""
            let! _ = within first
            Expect.equal reader.LastRead.sinceStart 40_000L<ms> "when it came"
            time.Advance(seconds 40.0)
            Expect.equal reader.StuckFor 0L<ms> "nobody reads"
            let second = next ()
            Expect.equal reader.StuckFor 0L<ms> "the wait begins"
            time.Advance(seconds 31.0)
            Expect.equal reader.StuckFor 31_000L<ms> "a frame has begun"
            do! send ":"
            let! _ = within second
            let third = next ()
            Expect.equal reader.StuckFor 0L<ms> "a byte has come"
            do! send "\"BEAT\",\"bytes\":9}\n123"
            let! _ = within third
            let fourth = next ()
            time.Advance(seconds 5.0)
            Expect.equal reader.StuckFor 5_000L<ms> "a payload has begun"
            do! send "456789"
            let! _ = within fourth
            let _ = next ()
            time.Advance(seconds 5.0)
            Expect.equal reader.StuckFor 0L<ms> "it has ended"
            Expect.hasLength arrivals 2 "both"
        }

        testTask "a large payload that has ended is no frame that is stuck" {
            // Who had submitted one, and then waited 30 s for its end, was sent away.
            let time = HandTime()
            use folder = new TempFolder()
            let spool _ = folder.At "spooled"
            let pipe, reader, _ = pipeReader toScheduler 3L<B> spool (Clock time)
            let arrivals = List<IncomingMessage<ToScheduler>>()

            let next () =
                reader.ReadAsync(arrivals, CancellationToken.None)

            let! _ =
                pipe.Writer.WriteAsync(
                    ReadOnlyMemory(
                        utf8
                            "{\"type\":\"SUBMIT\",\"ref\":\"r\",\"name\":\"n\",\"bytes\":9}\n123456789"
                    )
                )

            let! _ = within (next ())
            let! _ = within (next ())
            Expect.hasLength arrivals 1 "it has come"
            let _ = next ()
            time.Advance(seconds 31.0)
            Expect.equal reader.StuckFor 0L<ms> "nothing is waited for"
        }
    ]
