/// How tests write frames into memory, and read them from a pipe.
module FsScheduler.Protocol.Tests.FrameSupport

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

let departure message payload : OutgoingMessage<'message, Content> = {
    message = message
    payload = payload
}

/// What came, with the payload wherever it was.
type Received<'message> = {
    message: 'message
    bytes: byte[]
    isSpooled: bool
    failure: string | null
}

let toScheduler = Decoder<ToScheduler>(fun line -> Codec.decodeToScheduler line)

let fromScheduler =
    Decoder<FromScheduler>(fun line -> Codec.decodeFromScheduler line)

let receive (arrival: IncomingMessage<'message>) =
    let bytes, isSpooled =
        match arrival.payload with
        | Bytes bytes -> bytes, false
        | Spooled(path, size) ->
            let bytes = IO.File.ReadAllBytes path
            IO.File.Delete path
            Expect.equal (int64 bytes.Length * 1L<B>) size "the size of the file"
            bytes, true

    {
        message = arrival.message
        bytes = bytes
        isSpooled = isSpooled
        failure = arrival.failure
    }

/// A reader and its pipe: whatever is written is read at once, as one read, by the same thread.
let pipeReader decode memoryMax (spool: 'message -> string | null) clock =
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

let readAll (reader: FrameReader<'message>) =
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

let read decode memoryMax spool (chunks: byte[] seq) =
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

let written (encode: Encoder<'message>) (departures: OutgoingMessage<'message, Content> seq) =
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

let encodeTo =
    Encoder<ToScheduler>(fun output message bytes -> Codec.encodeToScheduler output message bytes)

let encodeFrom =
    Encoder<FromScheduler>(fun output message bytes ->
        Codec.encodeFromScheduler output message bytes)

let nowhere _ : string | null = null
