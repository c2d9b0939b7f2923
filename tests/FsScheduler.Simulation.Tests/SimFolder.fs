namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine

/// `entrada/`, whose files change and vanish while they are worked on, and the scanner that tells of it.
[<Sealed>]
type SimFolder(scene: SimulationContext, post: Input -> unit) =
    let chance = scene.chance
    let climate = scene.climate
    let files = SortedDictionary<string, int64>(System.StringComparer.Ordinal)
    let seen = SortedDictionary<string, int64>(System.StringComparer.Ordinal)
    let missed = SortedSet<string>(System.StringComparer.Ordinal)
    let mutable versions = 0L

    let nameOf index =
        // Every poisonous name stays so: whoever runs it dies.
        if index * 100 / 8 < climate.poisonPercent then
            $"poison{index}.txt"
        else
            $"file{index}.txt"

    let change () =
        versions <- versions + 1L
        files[nameOf (chance.Below climate.files)] <- versions

    let stampOf name version =
        FileVersion.ofTime (Content.sizeOf (Content.ofFile name version)) version

    let scan () =
        for KeyValue(name, version) in files do
            if not (seen.ContainsKey name) || seen[name] <> version then
                seen[name] <- version

                match TaskName.parse name with
                | Error error -> raise (Violation error)
                | Ok taskName ->
                    let payload = Payload.Input(stampOf name version)
                    let submission = Submission.Create(taskName, "", 0, Origin.Folder, payload)
                    post (Input.Submit(submission, ""))

        for name in Seq.toArray seen.Keys do
            if not (files.ContainsKey name) then
                seen.Remove name |> ignore
                missed.Add name |> ignore

        for name in missed do
            if not (files.ContainsKey name) then
                post (Input.FileDeleted name)

        missed.Clear()

    /// The files that are there, with their versions.
    member _.Files = files

    member _.IsScanned =
        files.Count = seen.Count
        && files
           |> Seq.forall (fun (KeyValue(name, version)) ->
               seen.GetValueOrDefault(name, 0L) = version)

    /// What is in a file at this moment, or that it is no longer what it was.
    member _.Read(name: string, stamp: FileVersion) : string voption =
        match files.TryGetValue name with
        | true, version when version = stamp.modified -> ValueSome(Content.ofFile name version)
        | _ ->
            scene.coverage.Count "seen: file changed before it was read"
            ValueNone

    /// Whether anything is in a file's place.
    member _.Has(name: string) = files.ContainsKey name

    /// That version was found void: if the scanner believes in it, it has to look again.
    member _.Forget(name: string, stamp: FileVersion) =
        match seen.TryGetValue name with
        | true, version when version = stamp.modified -> seen.Remove name |> ignore
        | _ -> ()

    /// It was to be read, and is not there: whoever tried is told once more that it is gone, if that still holds.
    member _.Miss(name: string) = missed.Add name |> ignore

    member _.Start() =
        for _ in 1 .. climate.files do
            change ()

        scene.timeline.Every(
            chance.Time(200L<ms>, 1_500L<ms>),
            fun () ->
                scan ()
                true
        )

        scene.timeline.Every(
            500L<ms>,
            fun () ->
                if scene.Fault(climate.changes * 100 / 120, "file changed") then
                    change ()

                if files.Count > 0 && scene.Fault(climate.changes * 100 / 600, "file vanished") then
                    let names = Seq.toArray files.Keys
                    files.Remove(chance.Pick names) |> ignore

                scene.faulty
        )
