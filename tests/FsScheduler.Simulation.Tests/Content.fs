namespace FsScheduler.Simulation.Tests

open System
open System.Collections.Generic
open System.Text
open FsScheduler.Core

/// What simulated work makes: its input, and the name of each stage with the attempt that ran it.
/// So a result tells by itself whether every stage ran once, in order, on the right input.
module Content =

    let toBytes (content: string) = Encoding.UTF8.GetBytes content

    let run (stages: string[]) (attempt: int) (content: string) =
        stages
        |> Array.fold (fun content stage -> $"{content};{stage}#{attempt}") content

    let ofBytes (bytes: byte[]) = Encoding.UTF8.GetString bytes

    let proofOf (content: string) : Proof = {
        size = int64 content.Length * 1L<B>
        hash = uint64 (content.GetHashCode StringComparison.Ordinal)
    }

    /// What a version of a file holds.
    let ofFile (name: string) (version: int64) = $"{name}.v{version}"

/// The temporary files of a simulated scheduler. Use after deletion is found at once, and a file that nobody deletes at the end.
[<Sealed>]
type Spool() =
    let files = Dictionary<string, string>()
    let mutable written = 0

    member _.Write(content: string, size: Size) : Payload =
        written <- written + 1
        let path = $"spool/{written}"
        files.Add(path, content)
        Spooled(path, size)

    member _.Read(path: string) =
        match files.TryGetValue path with
        | true, content -> content
        | _ -> raise (Violation $"{path} is used after it was deleted")

    member _.Delete(path: string) =
        if not (files.Remove path) then
            raise (Violation $"{path} is deleted twice")

    member _.Paths = files.Keys

    /// The bytes that a payload stands for.
    member spool.Content(payload: Payload, submission: Submission) =
        match payload with
        | Packed -> Encoding.UTF8.GetString submission.Packed.Span
        | Bytes bytes -> Encoding.UTF8.GetString bytes
        | Spooled(path, _) -> spool.Read path
        | Filed
        | Recorded _ -> raise (Violation "nothing is left to the journal here")
        | Input stamp -> Content.ofFile submission.Name stamp.modified

    /// Whoever was given this payload for good has used it.
    member spool.Consume(payload: Payload) =
        match payload with
        | Spooled(path, _) -> spool.Delete path
        | Packed
        | Filed
        | Recorded _
        | Bytes _
        | Input _ -> ()
