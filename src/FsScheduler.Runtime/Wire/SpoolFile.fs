namespace FsScheduler.Runtime

open System
open System.IO
open FsScheduler.Core

/// Files of payloads that are too large for memory. Each has one owner at a time, who deletes it.
module SpoolFile =

    /// Deletes one. What cannot be deleted stays until its folder is emptied: at the scheduler's next start,
    /// at the worker's end.
    let delete (path: string) =
        try
            File.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    /// Deletes the file of a payload that has one of its own.
    let discard (payload: Payload) =
        match payload with
        | Spooled(path, _) -> delete path
        | Packed
        | Filed
        | Recorded _
        | Bytes _
        | Input _ -> ()

    /// Reads a payload that is in memory or in a file of its own.
    let openPayload (payload: Payload) : Stream =
        match payload with
        | Spooled(path, _) -> File.OpenRead path
        | Bytes bytes -> new MemoryStream(bytes, false)
        | Packed
        | Filed
        | Recorded _
        | Input _ -> invalidOp "a worker has payloads in memory or in files of its own"
