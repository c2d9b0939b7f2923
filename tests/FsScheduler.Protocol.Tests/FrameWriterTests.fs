module FsScheduler.Protocol.Tests.FrameWriterTests

open System
open System.IO
open System.IO.Pipelines
open System.Text
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.TestKit
open FsScheduler.Protocol.Tests.FrameSupport

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

let private post (writer: FrameWriter<ToScheduler, Content>) message payload =
    Expect.isTrue (writer.Post(departure message payload)) "posted"

let private linesOf (bytes: byte[]) =
    Encoding.UTF8.GetString(bytes).Split('\n', StringSplitOptions.RemoveEmptyEntries)

[<Tests>]
let tests =
    testList "frames.writing" [
        testTask "what is posted during a flush goes out in the next one" {
            let stream, _, _, writer = gated ()
            post writer (ToScheduler.Ready 0) Content.empty
            writer.Signal()
            do! stream.WaitingAsync()

            for slots in 1..400 do
                post writer (ToScheduler.Ready slots) Content.empty
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
                        post writer (ToScheduler.Cancel id) Content.empty
                        writer.Signal()

                do! ended (Task.WhenAll [ for poster in 0 .. posters - 1 -> Task.Run(post poster) ])
                do! ended all.Task // nothing but `Signal` has sent them
                do! eventually "the backlog is gone" (fun () -> writer.Backlog = 0L)
        }

        testTask "who waits for room goes on when there is some" {
            let stream, _, _, writer = gated ()

            for _ in 1..20 do
                post writer (ToScheduler.Ready 1) (Bytes(Array.zeroCreate 400))

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

            post writer (ToScheduler.Ready 1) (Bytes(Array.zeroCreate 70_000))

            post writer (ToScheduler.Ready 2) (Spooled("same batch", 1L<B>))

            writer.Signal()
            do! stream.WaitingAsync()

            post writer (ToScheduler.Ready 3) (Spooled("next batch", 1L<B>))

            let room = writer.RoomAsync 10L
            let drained = writer.DrainAsync()
            stream.Open()
            do! ended room
            do! ended drained
            do! ended (writer.DrainAsync())

            Expect.isFalse
                (writer.Post(departure (ToScheduler.Ready 4) Content.empty))
                "nothing is sent any more"

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

            post writer result (Spooled(folder.At "short", 100_000L<B>))

            post writer result (Spooled(folder.At "whole", 5L<B>))
            post writer (ToScheduler.Ready 7) Content.empty
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

            let expected = Array.append (utf8 "0123456789") (Array.zeroCreate 99_990)

            Expect.equal
                [ for frame in received -> frame.bytes ]
                [ expected; utf8 "01234"; [||] ]
                "in step"
        }

        testTask "a slow peer is not a stuck one" {
            use folder = new TempFolder()
            IO.File.WriteAllBytes(folder.At "large", Array.zeroCreate 1_000_000)
            let stream, _, time, writer = gated ()
            let result = ToScheduler.Result({ task = 1L<taskId>; number = 1 }, Succeeded)

            post writer result (Spooled(folder.At "large", 1_000_000L<B>))

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
