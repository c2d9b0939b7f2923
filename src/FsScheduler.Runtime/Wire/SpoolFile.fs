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
