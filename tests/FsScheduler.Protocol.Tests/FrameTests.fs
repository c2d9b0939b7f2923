module FsScheduler.Protocol.Tests.FrameTests

open System
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.TestKit

let private departure message payload : OutgoingMessage<'message, Content> = {
    message = message
    payload = payload
}

/// What came, with the payload wherever it was.
type private Received<'message> = {
    message: 'message
    bytes: byte[]
    isSpooled: bool
    failure: string | null
}

let private toScheduler =
    Decoder<ToScheduler>(fun line -> Codec.decodeToScheduler line)

let private fromScheduler =
    Decoder<FromScheduler>(fun line -> Codec.decodeFromScheduler line)

let private receive (arrival: IncomingMessage<'message>) =
    match arrival.payload with
    | Bytes bytes -> {
        message = arrival.message
        bytes = bytes
        isSpooled = false
        failure = arrival.failure
      }
    | Spooled(path, size) ->
        let bytes = IO.File.ReadAllBytes path
        IO.File.Delete path
        Expect.equal (int64 bytes.Length * 1L<B>) size "the size of the file"

        {
            message = arrival.message
            bytes = bytes
            isSpooled = true
            failure = arrival.failure
        }

/// A reader and its pipe: whatever is written is read at once, as one read, by the same thread.
let private pipeReader decode memoryMax (spool: 'message -> string | null) clock =
    let pipe =
        Pipe(
            PipeOptions(
                readerScheduler = PipeScheduler.Inline,
                writerScheduler = PipeScheduler.Inline,
                pauseWriterThreshold = 0L,
                useSynchronizationContext = false
            )
        )

    let errors = List<FrameError>()

    let admit (frame: Result<Frame<'message>, FrameError>) =
        match frame with
        | Ok _ -> FrameHandling.Take
        | Error error ->
            errors.Add error

            if error.code = ErrorCode.BadFrame then
                FrameHandling.Stop
            else
                FrameHandling.Skip

    let reader =
        FrameReader<'message>(
            pipe.Reader,
            decode,
            Func<_, _> admit,
            Func<_, _>(fun message -> Task.FromResult(spool message)),
            memoryMax,
            clock
        )

    pipe, reader, errors

let private readAll (reader: FrameReader<'message>) =
    let received = List<Received<'message>>()

    let reading =
        task {
            let arrivals = List<IncomingMessage<'message>>()
            let mutable goOn = true

            while goOn do
                let! more = reader.ReadAsync(arrivals, CancellationToken.None)

                for arrival in arrivals do
                    received.Add(receive arrival)

                arrivals.Clear()
                goOn <- more
        }

    received, reading

let private read decode memoryMax spool (chunks: byte[] seq) =
    task {
        let pipe, reader, errors = pipeReader decode memoryMax spool (Clock(HandTime()))
        let received, reading = readAll reader

        for chunk in chunks do
            let! _ = pipe.Writer.WriteAsync(ReadOnlyMemory chunk)
            ()

        do! pipe.Writer.CompleteAsync()
        do! ended reading
        return struct (List.ofSeq received, List.ofSeq errors)
    }

/// Cut at places that chance decides, often within a few bytes.
let private cut (random: Random) (bytes: byte[]) = [
    let mutable start = 0
    let longest = if random.Next 2 = 0 then 7 else 20_000

    while start < bytes.Length do
        let length = min (bytes.Length - start) (1 + random.Next longest)
        Array.sub bytes start length
        start <- start + length
]

let private written
    (encode: Encoder<'message>)
    (departures: OutgoingMessage<'message, Content> seq)
    =
    task {
        let stream = new MemoryStream()
        let bodies = SpoolBodies<'message>()

        let writer =
            FrameWriter<'message, Content>(
                PipeWriter.Create(stream, StreamPipeWriterOptions(leaveOpen = true)),
                encode,
                bodies,
                Clock(HandTime())
            )

        for departure in departures do
            Expect.isTrue (writer.Post departure) "posted"

        do! ended (writer.DrainAsync())
        Expect.isNull writer.Failure "well"
        return stream.ToArray()
    }

let private encodeTo =
    Encoder<ToScheduler>(fun output message bytes -> Codec.encodeToScheduler output message bytes)

let private encodeFrom =
    Encoder<FromScheduler>(fun output message bytes ->
        Codec.encodeFromScheduler output message bytes)

let private attempt (random: Random) : Attempt = {
    task = random.NextInt64(1L, 1L <<< 40) * 1L<taskId>
    number = random.Next(1, 9)
}

let private toMessage (random: Random) index =
    match random.Next 4 with
    | 0 ->
        ToScheduler.Submit {
            ref = $"r{index}"
            name = "ação.txt"
            pipeline = "lower | trim"
            priority = random.Next 9
            key = Some "a\n\"key\""
            want = Want.File
        }
    | 1 -> ToScheduler.Result(attempt random, Succeeded)
    | 2 -> ToScheduler.Cancel(int64 (index + 1) * 1L<taskId>)
    | _ -> ToScheduler.Ready index

let private fromMessage (random: Random) index =
    match random.Next 4 with
    | 0 ->
        FromScheduler.Process {
            attempt = attempt random
            name = "x/y.txt"
            stages = [| "lower"; "grep:é\n" |]
            timeout = 1L<ms>
            piece = ValueNone
            files = ValueNone
        }
    | 1 ->
        FromScheduler.Done {
            ref = $"{index}"
            task = 3L<taskId>
            attempts = 1
            outcome = TaskOutcome.Completed
            error = None
        }
    | 2 -> FromScheduler.Error(ErrorCode.BadField, String('"', 3_000))
    | _ -> FromScheduler.Beat

let private payload (random: Random) (memoryMax: int) =
    let sizes = [| 0; 0; 1; 2; 50; memoryMax - 1; memoryMax; memoryMax + 1; 3 * memoryMax + 5 |]

    let bytes = Array.zeroCreate sizes[random.Next sizes.Length]
    random.NextBytes bytes

    // As much like frames as payloads can be.
    for index in 0..5 .. bytes.Length - 1 do
        bytes[index] <- (if index % 2 = 0 then byte '\n' else byte '{')

    bytes

/// Whatever is written is read, however the bytes are cut.
let private roundTrip encode decode (message: Random -> int -> 'message) memoryMax (seed: int) =
    task {
        use folder = new TempFolder()
        let random = Random seed

        let sent = [
            for index in 0 .. random.Next 12 -> message random index, payload random memoryMax
        ]

        let mutable files = 0

        let newFile name (bytes: byte[]) =
            files <- files + 1
            let path = folder.At $"{name}{files}"
            IO.File.WriteAllBytes(path, bytes)
            path

        let! bytes =
            sent
            |> List.map (fun (message, bytes) ->
                if bytes.Length > 0 && random.Next 3 = 0 then
                    let size = int64 bytes.Length * 1L<B>
                    departure message (Spooled(newFile "out" bytes, size))
                else
                    departure message (Bytes bytes))
            |> written encode

        let spool _ : string | null =
            files <- files + 1
            folder.At $"in{files}"

        let! struct (received, errors) =
            read decode (int64 memoryMax * 1L<B>) spool (cut random bytes)

        Expect.isEmpty errors "no errors"

        Expect.equal
            (received |> List.map (fun frame -> frame.message, frame.bytes))
            sent
            $"the same, in order (seed {seed})"

        for frame in received do
            Expect.equal frame.isSpooled (frame.bytes.Length > memoryMax) "where it is held"
            Expect.isNull frame.failure "no failure"

        Expect.isEmpty (Directory.GetFiles(folder.Path, "in*")) "no file is left"
    }

let private bytesOf (text: string) = Encoding.UTF8.GetBytes text

let private nowhere _ : string | null = null

let private reading =
    testList "reading" [
        for memoryMax in [ 100; 65_536 ] do
            testTask $"any cut of the bytes gives the same frames; {memoryMax} bytes in memory" {
                for seed in 1 .. (if memoryMax = 100 then 150 else 10) do
                    do! roundTrip encodeTo toScheduler toMessage memoryMax seed
                    do! roundTrip encodeFrom fromScheduler fromMessage memoryMax seed
            }

        for cutAt in [ 1; 7; 1_000; 65_536; 200_000 ] do
            testTask
                $"a line of the greatest length is read, a longer one is not; reads of {cutAt} bytes" {
                let line length =
                    let start = "{\"type\":\"BEAT\",\"x\":\""
                    let fill = String('x', length - start.Length - "\"}\n".Length)
                    bytesOf $"{start}{fill}\"}}\n"

                let chunks length =
                    Array.append (line length) (bytesOf "{\"type\":\"BEAT\"}\n")
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
            let bytes = Array.append (bytesOf "{\"type\":\"BEAT\"}\n") (Array.create 70_000 0uy)
            let! struct (received, errors) = read toScheduler 100L<B> nowhere [ bytes ]
            Expect.hasLength received 1 "the BEAT"
            Expect.hasLength errors 1 "the other"
        }

        testTask "a frame that is refused is skipped with its payload" {
            let bytes =
                bytesOf
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
                bytesOf
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
                let bytes = bytesOf (line + String('x', length))
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
                bytesOf (
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

            let stream = new MemoryStream(bytesOf (line + String('x', 500)))

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
            Expect.equal arrival.bytes (bytesOf (String('x', 500))) "all of it"

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
                    let! _ = pipe.Writer.WriteAsync(ReadOnlyMemory(bytesOf text))
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
                        bytesOf
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

let private gated () =
    let stream = new GatedStream()
    let bodies = SpoolBodies<ToScheduler>()
    let time = HandTime()

    let writer =
        FrameWriter<ToScheduler, Content>(
            PipeWriter.Create(stream, StreamPipeWriterOptions(minimumBufferSize = 128 * 1024)),
            encodeTo,
            bodies,
            Clock time
        )

    stream, bodies, time, writer

let private ready slots =
    departure (ToScheduler.Ready slots) Content.empty

let private linesOf (bytes: byte[]) =
    Encoding.UTF8.GetString(bytes).Split('\n', StringSplitOptions.RemoveEmptyEntries)

let private writing =
    testList "writing" [
        testTask "what is posted during a flush goes out in the next one" {
            let stream, _, _, writer = gated ()
            writer.Post(ready 0) |> ignore
            writer.Signal()
            do! stream.WaitingAsync()

            for slots in 1..400 do
                writer.Post(ready slots) |> ignore
                writer.Signal()

            stream.Open()
            do! ended (writer.DrainAsync())
            Expect.equal stream.Flushes 2 "flushes"
            Expect.hasLength (linesOf stream.Written) 401 "messages"
        }

        testTask "no message is lost or overtaken, however many post" {
            for _ in 1..20 do
                let posters = 4
                let each = 2_000
                let seen = Array.zeroCreate<int64> posters
                let mutable count = 0

                let all = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

                let encode =
                    Encoder<ToScheduler>(fun output message bytes ->
                        match message with
                        | ToScheduler.Cancel id ->
                            let poster = int (int64 id / 1_000_000L)
                            let number = int64 id % 1_000_000L

                            if number <> seen[poster] + 1L then
                                all.TrySetException(Exception $"{id} after {seen[poster]}")
                                |> ignore

                            seen[poster] <- number
                            count <- count + 1

                            if count = posters * each then
                                all.TrySetResult() |> ignore
                        | other -> failwith $"{other}"

                        Codec.encodeToScheduler output message bytes)

                let writer =
                    FrameWriter<ToScheduler, Content>(
                        PipeWriter.Create Stream.Null,
                        encode,
                        SpoolBodies<ToScheduler>(),
                        Clock TimeProvider.System
                    )

                let post poster () =
                    for number in 1..each do
                        let id = int64 (poster * 1_000_000 + number) * 1L<taskId>
                        writer.Post(departure (ToScheduler.Cancel id) Content.empty) |> ignore
                        writer.Signal()

                do! ended (Task.WhenAll [ for poster in 0 .. posters - 1 -> Task.Run(post poster) ])
                do! ended all.Task // nothing but `Signal` has sent them
                do! eventually "the backlog is gone" (fun () -> writer.Backlog = 0L)
        }

        testTask "who waits for room goes on when there is some" {
            let stream, _, _, writer = gated ()

            for _ in 1..20 do
                writer.Post(departure (ToScheduler.Ready 1) (Bytes(Array.zeroCreate 400)))
                |> ignore

            Expect.equal writer.Backlog 10_000L "20 of 500"
            Expect.isTrue (writer.RoomAsync(10_001L).IsCompletedSuccessfully) "there is room"
            writer.Signal()
            do! stream.WaitingAsync()
            let room = writer.RoomAsync 10_000L
            Expect.isFalse room.IsCompleted "there is none"
            stream.Open()
            do! ended room
            do! ended (writer.DrainAsync())
            Expect.equal writer.Backlog 0L "all gone"
        }

        testTask "when the stream fails, nobody waits and no file is forgotten" {
            use folder = new TempFolder()
            let stream, bodies, _, writer = gated ()
            let error = IOException "broken"
            stream.Failure <- error

            writer.Post(departure (ToScheduler.Ready 1) (Bytes(Array.zeroCreate 70_000)))
            |> ignore

            writer.Post(departure (ToScheduler.Ready 2) (Spooled("same batch", 1L<B>)))
            |> ignore

            writer.Signal()
            do! stream.WaitingAsync()

            writer.Post(departure (ToScheduler.Ready 3) (Spooled("next batch", 1L<B>)))
            |> ignore

            let room = writer.RoomAsync 10L
            let drained = writer.DrainAsync()
            stream.Open()
            do! ended room
            do! ended drained
            do! ended (writer.DrainAsync())
            Expect.isFalse (writer.Post(ready 4)) "nothing is sent any more"
            Expect.equal writer.Failure error "why"

            let files = [ Spooled("same batch", 1L<B>); Spooled("next batch", 1L<B>) ]
            Expect.equal bodies.Posted files "what is to be opened was told of"
            Expect.equal bodies.Unsent files "those that had not begun"
        }

        testTask "a file that breaks off is made up to its promised size, and told" {
            use folder = new TempFolder()
            folder.Write("short", "0123456789")
            folder.Write("whole", "01234")
            let stream, bodies, _, writer = gated ()
            stream.Open()
            let result = ToScheduler.Result({ task = 1L<taskId>; number = 1 }, Succeeded)

            writer.Post(departure result (Spooled(folder.At "short", 100_000L<B>)))
            |> ignore

            writer.Post(departure result (Spooled(folder.At "whole", 5L<B>))) |> ignore
            writer.Post(ready 7) |> ignore
            do! ended (writer.DrainAsync())

            Expect.equal
                bodies.Sent
                [ struct (folder.At "short", false); struct (folder.At "whole", true) ]
                "told"

            let mutable files = 0

            let spool _ : string | null =
                files <- files + 1
                folder.At $"in{files}"

            let! struct (received, _) = read toScheduler 50L<B> spool [ stream.Written ]

            let expected = Array.append (bytesOf "0123456789") (Array.zeroCreate 99_990)

            Expect.equal
                [ for frame in received -> frame.bytes ]
                [ expected; bytesOf "01234"; [||] ]
                "in step"
        }

        testTask "a slow peer is not a stuck one" {
            use folder = new TempFolder()
            IO.File.WriteAllBytes(folder.At "large", Array.zeroCreate 1_000_000)
            let stream, _, time, writer = gated ()
            let result = ToScheduler.Result({ task = 1L<taskId>; number = 1 }, Succeeded)

            writer.Post(departure result (Spooled(folder.At "large", 1_000_000L<B>)))
            |> ignore

            Expect.equal writer.StuckFor 0L<ms> "nothing is being written"
            writer.Signal()

            for _ in 1..5 do
                do! stream.WaitingAsync()
                time.Advance(seconds 50.0)
                Expect.equal writer.StuckFor 50_000L<ms> "since the last piece"
                stream.Permit()

            stream.Open()
            do! ended (writer.DrainAsync())
            time.Advance(seconds 100.0)
            Expect.equal writer.StuckFor 0L<ms> "all has gone out"
        }
    ]

[<Tests>]
let tests = testList "frames" [ reading; writing ]
