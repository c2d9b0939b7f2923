namespace FsScheduler.Simulation.Tests.Crashes

open FsScheduler.Core
open FsScheduler.Simulation.Tests

/// <summary>The files that one life of a process makes, and what payloads stand for.</summary>
/// <param name="disk">Where they are.</param>
/// <param name="journal">Has the payloads that are recorded.</param>
/// <param name="start">When this life began; no other one has names with it.</param>
/// <param name="isFlushing">What has to outlive the process is flushed.</param>
[<Sealed>]
type CrashFiles(disk: SimDisk, journal: SimJournal, start: Instant, isFlushing: bool) =
    let mutable count = 0

    let read path =
        match disk.Find path with
        | null -> raise (Violation $"{path} is not there")
        | file -> file.Content

    member _.NewName(folder: string) =
        count <- count + 1
        $"{folder}{start.sinceStart}-{count}"

    /// Whole, or not at all.
    member _.Write (name: string) (content: string) : string =
        try
            disk.Write(name, content)
            name
        with DiskFull ->
            disk.Delete name
            raise DiskFull

    /// One that has to outlive the process.
    member files.WriteKept (name: string) (content: string) : string =
        let name = files.Write name content

        if isFlushing then
            disk.Flush name

        name

    /// The bytes that a payload stands for.
    member files.ContentOf (payload: Payload) (submission: Submission) : string =
        match payload with
        | Packed -> Content.ofBytes (submission.Packed.ToArray())
        | Bytes bytes -> Content.ofBytes bytes
        | Spooled(path, _) -> read path
        | Recorded(number, _) -> journal.Payload number
        | Filed -> raise (Violation "it was not recalled")
        | Payload.Input _ -> raise (Violation "an input has no content of its own")
        | Slice(whole, start, size) -> Content.slice (files.ContentOf whole submission) start size
