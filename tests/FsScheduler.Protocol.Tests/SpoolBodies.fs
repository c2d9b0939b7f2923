namespace FsScheduler.Protocol.Tests

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Core
open FsScheduler.Protocol

/// Opens spooled payloads, and remembers what became of them.
type SpoolBodies<'message>() =
    let sent = List<struct (string * bool)>()
    let unsent = List<Content>()
    let posted = List<Content>()
    member _.Posted = lock posted (fun () -> List.ofSeq posted)
    member _.Sent = lock sent (fun () -> List.ofSeq sent)
    member _.Unsent = lock unsent (fun () -> List.ofSeq unsent)

    interface IPayloadSource<'message, Content> with
        member _.TryBytes content = Content.tryBytes content
        member _.MemorySize content = Content.memorySize content

        member _.Posted departure =
            lock posted (fun () -> posted.Add departure.payload)

        member _.Open departure =
            match departure.payload with
            | Spooled(path, size) ->
                ValueSome {
                    bytes = ReadOnlyMemory.Empty
                    file = File.OpenHandle path
                    start = 0L<B>
                    size = size
                }
            | Bytes _ -> ValueNone

        member _.Instead _ = ValueNone

        member _.Sent(departure, body, whole) =
            (nonNull body.file).Dispose()

            match departure.payload with
            | Spooled(path, _) -> lock sent (fun () -> sent.Add(struct (path, whole)))
            | Bytes _ -> ()

        member _.Unsent departure =
            lock unsent (fun () -> unsent.Add departure.payload)
