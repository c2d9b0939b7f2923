namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Simulation.Tests

/// `resultados/`: keeps what is there.
[<Sealed>]
type WorldResults(scene: SimulationContext, spool: Spool) =
    let published = Dictionary<string, string>()
    let mutable count = 0

    /// The version of the file that a result was made of; 0: it is not to be seen in it.
    let versionOf (content: string) =
        match content.IndexOf ".v" with
        | -1 -> 0L
        | at ->
            let digits =
                content[at + 2 ..] |> Seq.takeWhile System.Char.IsAsciiDigit |> Seq.toArray

            if digits.Length = 0 then
                0L
            else
                int64 (System.String digits)

    let put (name: TaskName) (content: string) mayReplace : Result<unit, PublishFailure> =
        let name = string name

        if scene.Fault(scene.climate.unpublishedPercent, "result not stored") then
            Error(DiskFailed "I/O error")
        else
            match published.TryGetValue name with
            | true, _ when not mayReplace -> Error(Occupied name)
            | there, before ->
                let newest = if there then versionOf before else 0L
                let version = versionOf content

                if version > 0L && newest > version then
                    raise (
                        Violation $"version {version} of {name} is published over version {newest}"
                    )

                published[name] <- content
                scene.Note("published", version, name)
                Ok()

    member _.Of(name: string) : string voption =
        match published.TryGetValue name with
        | true, content -> ValueSome content
        | _ -> ValueNone

    interface IResultFolder with
        member _.Path = "resultados"
        member _.Fold name = string name
        member _.NameThere _ = ValueNone
        member _.IsThere name = published.ContainsKey(string name)
        member _.HasResult name = published.ContainsKey(string name)
        member _.TargetOf name = $"resultados/{name}.out"

        member _.Publish(name, result, mayReplace) =
            put name (Content.ofBytes (result.ToArray())) mayReplace

        member _.PublishTemp(name, temporary, mayReplace) =
            let outcome = put name (spool.Read temporary) mayReplace

            match outcome with
            | Ok() -> spool.Delete temporary
            | Error _ -> ()

            outcome

        member _.PublishError(_, _, _) = Ok()

        member _.CreateTemp _ =
            count <- count + 1
            Ok $"resultados/.{count}.tmp"

        member _.TempFor _ =
            count <- count + 1
            $"resultados/.{count}.tmp"

        member _.TryContentHash path = Ok(Content.hashOf (spool.Read path))
        member _.Holds(_, _) = false
        member _.Find(_, _, _) = ValueNone

/// The payloads of a simulated scheduler, as its host sees them.
[<Sealed>]
type WorldSpool(scene: SimulationContext, spool: Spool) =
    interface ISpool with
        member _.Has path = (spool.TryRead path).IsSome

        member _.Open path =
            if scene.Fault(scene.climate.unjoinedPercent / 4, "join failed") then
                raise (System.IO.IOException "I/O error")

            match spool.TryRead path with
            | ValueSome content -> new System.IO.MemoryStream(Content.toBytes content, false)
            | ValueNone ->
                scene.coverage.Count "seen: gone before it was joined"
                raise (System.IO.FileNotFoundException path)

        member _.Create path =
            new HashedFile(spool.Create path, ignore)

        member _.Delete path = spool.Delete path
        member _.HasRoomForOthers _ = true

/// Its state folder.
[<Sealed>]
type WorldState(scene: SimulationContext) =
    let mutable count = 0

    let next () : string | null =
        count <- count + 1
        $"spool/n{count}"

    interface IStateFolder with
        member _.IsSameBoot = true
        member _.NoteBoot() = ()
        member _.NewSpool _ = next ()
        member _.NewPart() = next ()
        member _.IsKept _ = scene.climate.spooledPercent > 0
        member _.Temporary = "spool"
        member _.Sweep _ = ()
