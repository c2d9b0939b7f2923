namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Simulation.Tests

/// The process ends, here and now.
exception Crash

/// What a name stands for.
[<Sealed>]
type SimFile(content: string, modified: int64) =
    /// What a reader finds.
    member val Content = content with get, set
    /// What the device has.
    member val Durable: string voption = ValueNone with get, set
    /// A number that no other writing has.
    member val Modified = modified with get, set

/// <summary>Files and their names, as processes see them and as the device has them. Before, in the middle of and after
/// every operation lies a boundary, at which the process may end.</summary>
[<Sealed>]
type SimDisk(chance: Chance, coverage: Coverage) =
    let names = SortedDictionary<string, SimFile>(StringComparer.Ordinal)
    let durable = SortedDictionary<string, SimFile>(StringComparer.Ordinal)
    let mutable writings = 0L

    let half (content: string) =
        content.Substring(0, content.Length / 2)

    /// How many boundaries have been passed.
    member val Passed = 0 with get, set
    /// At which one the process ends.
    member val CrashAt = Int32.MaxValue with get, set
    /// That is over: nothing reaches the disk any more.
    member val IsDown = false with get, set
    /// What others do while somebody is at a boundary.
    member val Meanwhile: unit -> unit = ignore with get, set
    member val IsFull = false with get, set
    /// How many of a hundred renames fail.
    member val RenamesFail = 0 with get, set

    /// Nothing happens after the end.
    member private disk.Live() =
        if disk.IsDown then
            raise Crash

    member disk.Boundary() =
        disk.Live()
        disk.Passed <- disk.Passed + 1

        if disk.Passed = disk.CrashAt then
            disk.IsDown <- true
            raise Crash

        disk.Meanwhile()
        disk.Live()

    member disk.NeedRoom() =
        if disk.IsFull then
            coverage.Count "fault: disk full"
            raise (IOException("disk full", 28)) // ENOSPC

    member disk.Write(name: string, content: string) =
        disk.Boundary()
        writings <- writings + 1L
        let file = SimFile("", writings)
        names[name] <- file
        disk.NeedRoom()
        file.Content <- half content
        disk.Boundary()
        file.Content <- content
        disk.Boundary()

    /// An empty one.
    member disk.Create(name: string) =
        disk.Boundary()
        writings <- writings + 1L
        names[name] <- SimFile("", writings)
        disk.Boundary()

    /// More behind what a file has.
    member disk.Append(name: string, content: string) =
        disk.Boundary()
        disk.NeedRoom()

        match names.TryGetValue name with
        | true, file ->
            writings <- writings + 1L
            file.Content <- file.Content + content
            file.Modified <- writings
        | _ -> () // a file that was deleted while it is open

    /// False: it failed. The boundary after it is the caller's.
    member disk.Rename(name: string, target: string) : bool =
        disk.Boundary()

        if chance.Percent disk.RenamesFail then
            coverage.Count "fault: rename failed"
            false
        else
            names[target] <- names[name]
            names.Remove name |> ignore
            true

    member disk.Delete(name: string) =
        if names.ContainsKey name then
            disk.Boundary()
            names.Remove name |> ignore
            disk.Boundary()

    /// Content and name.
    member disk.Flush(name: string) =
        disk.Boundary()

        let file =
            match names.TryGetValue name with
            | true, file -> file
            | _ -> raise (FileNotFoundException name)

        file.Durable <- ValueSome file.Content
        durable[name] <- file
        disk.Boundary()

    /// The whole file system.
    member disk.FlushAll() =
        disk.Boundary()

        for KeyValue(_, file) in names do
            file.Durable <- ValueSome file.Content

        durable.Clear()

        for KeyValue(name, file) in names do
            durable[name] <- file

        disk.Boundary()

    member _.Find(name: string) : (SimFile | null) =
        match names.TryGetValue name with
        | true, file -> file
        | _ -> null

    member _.Below(folder: string) = [
        for name in names.Keys do
            if name.StartsWith(folder, StringComparison.Ordinal) then
                name
    ]

    /// The power goes: of what was not flushed, anything may be there, or a half of it, or nothing.
    member disk.Cut() =
        let before = Dictionary names
        let all = HashSet names.Keys
        all.UnionWith durable.Keys
        names.Clear()

        for name in Seq.sort all do
            let find (files: IDictionary<string, SimFile>) : SimFile | null =
                match files.TryGetValue name with
                | true, file -> file
                | _ -> null

            let seen, kept = find before, find durable

            let file =
                if obj.ReferenceEquals(seen, kept) || chance.Percent 50 then
                    seen
                else
                    coverage.Count "seen: name lost"
                    kept

            match file with
            | null -> ()
            | file -> names[name] <- file

        for KeyValue(_, file) in names do
            if file.Durable <> ValueSome file.Content then
                match chance.Below 3, file.Durable with
                | 0, ValueSome content -> file.Content <- content
                | 0, ValueNone ->
                    coverage.Count "seen: content lost"
                    file.Content <- ""
                | 1, _ ->
                    coverage.Count "seen: content torn"
                    file.Content <- half file.Content
                | _ -> ()

        durable.Clear()

        for KeyValue(name, file) in names do
            file.Durable <- ValueSome file.Content
            durable[name] <- file
