namespace FsScheduler.Simulation.Tests

open System
open System.Collections.Generic
open System.IO
open System.Text
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol
open FsScheduler.Folders

/// What simulated work makes: its input, and the name of each stage with the attempt that ran it, at every line or once,
/// as the stage's kind wants. So a result tells by itself whether every stage ran once, in order, on the right input, and
/// who ran it on which lines.
module Content =

    let toBytes (content: string) = Encoding.UTF8.GetBytes content

    /// <summary>Several lines of a text, of which one is poison if the text is. Each has its line end, but for a single
    /// one.</summary>
    let make (text: string) (lines: int) =
        let poison = text.Length % max 1 lines

        if lines <= 1 then
            text
        else
            String.concat "" [
                for line in 0 .. lines - 1 do
                    let text = if line = poison then text else text.Replace("poison", "p")
                    $"{text}:{line}\n"
            ]

    /// Each with its line end, if it has one.
    let linesOf (content: string) : string list =
        let rec from start =
            if start = content.Length then
                []
            else
                match content.IndexOf('\n', start) with
                | -1 -> [ content[start..] ]
                | at -> content[start..at] :: from (at + 1)

        from 0

    /// Without attempts: what anybody would have made of it.
    let plain (content: string) =
        let text = StringBuilder()
        let mutable isAttempt = false

        for letter in content do
            if letter = '#' then
                isAttempt <- true
            elif not (isAttempt && (Char.IsAsciiDigit letter || letter = '.')) then
                isAttempt <- false
                text.Append letter |> ignore

        text.ToString()

    /// What a worker's own stage is on pieces, whatever it is called there.
    let private kindOf (stage: string) =
        match Stage.tryBuiltIn stage with
        | Some stage -> stage.kind
        | None when stage.StartsWith("each", StringComparison.Ordinal) -> PerLine
        | None when stage.StartsWith("tally", StringComparison.Ordinal) -> Aggregating
        | None -> WholeFile

    /// What a worker can offer beside a stage, for pieces.
    let formsOf (stage: string) : string list =
        match Stage.tryBuiltIn stage, kindOf stage with
        | None, PerLine -> [ stage + Stage.linesForm ]
        | None, Aggregating -> [ stage + Stage.partForm; stage + Stage.mergeForm ]
        | _ -> []

    /// One of three, whoever has worked on the line.
    let private classOf (line: string) = Seq.sumBy int (plain line) % 3

    /// What an aggregating stage makes of lines: those of a class stay in their order, so that the order of parts shows.
    let private inClasses lines = List.sortBy classOf lines

    let private apply (attempt: Attempt) (content: string) (name: string) =
        let mark = $"#{attempt.task}.{attempt.number}"
        let stage = name.Split('.')[0]

        let add (what: string) (line: string) =
            if line.EndsWith '\n' then
                $"{line[.. line.Length - 2]};{what}{mark}\n"
            else
                $"{line};{what}{mark}"

        let lines = linesOf content

        let made =
            match kindOf stage, lines with
            // A stage that drops lines: parts may be empty.
            | PerLine, _ when stage = "squeeze" ->
                lines |> List.filter (fun line -> classOf line < 2) |> List.map (add stage)
            | PerLine, _ -> List.map (add stage) lines
            | _ when name.EndsWith(Stage.partForm, StringComparison.Ordinal) ->
                List.map (add stage) lines
            | _ when name.EndsWith(Stage.mergeForm, StringComparison.Ordinal) -> inClasses lines
            | Aggregating, _ -> inClasses (List.map (add stage) lines)
            // It has seen all of them.
            | WholeFile, [] -> [ add $"{stage}[0]" "\n" ]
            | WholeFile, first :: others -> add $"{stage}[{lines.Length}]" first :: others

        String.concat "" made

    /// <summary>What stages make of a content.</summary>
    /// <param name="stages">What they are called on the wire.</param>
    /// <param name="attempt">Who runs them.</param>
    /// <param name="content">All lines, or some.</param>
    let run (stages: string[]) (attempt: Attempt) (content: string) =
        Array.fold (apply attempt) content stages

    /// What the parts give together, in their order: one behind the other, or as the stage that gave them merges them.
    let join (isMerged: bool) (parts: string seq) =
        let all = String.concat "" parts

        if isMerged then
            String.concat "" (inClasses (linesOf all))
        else
            all

    /// Where pieces end that have at least so many bytes, but for the last.
    let cutsOf (content: string) (pieceSize: Size) : Size[] = [|
        let mutable start = 0
        let mutable at = 0

        for line in linesOf content do
            at <- at + line.Length

            if at < content.Length && int64 (at - start) >= int64 pieceSize then
                start <- at
                int64 at * 1L<B>

        int64 content.Length * 1L<B>
    |]

    let slice (content: string) (start: Size) (size: Size) = content.Substring(int start, int size)

    let sizeOf (content: string) : Size = int64 content.Length * 1L<B>

    let ofBytes (bytes: byte[]) = Encoding.UTF8.GetString bytes

    let hashOf (content: string) : ContentHash = ResultFile.hashOf (toBytes content)

    /// What a version of a file holds.
    let ofFile (name: string) (version: int64) =
        make $"{name}.v{version}" (int ((version * 5L + int64 name.Length) % 9L))

/// Takes what is written.
type SpoolStream(write: byte[] -> unit) =
    inherit MemoryStream()

    override _.Write(bytes: ReadOnlySpan<byte>) =
        base.Write bytes
        write (bytes.ToArray())

/// The temporary files of a simulated scheduler. Use after deletion is found at once, and a file that nobody deletes at the end.
[<Sealed>]
type Spool() =
    let files = Dictionary<string, string>()
    let mutable written = 0

    /// <param name="content">All of it.</param>
    /// <param name="size">What it is said to be; 0: what it is.</param>
    member _.Write(content: string, size: Size) : Content =
        written <- written + 1
        let path = $"spool/{written}"
        files.Add(path, content)
        Spooled(path, (if size = 0L<B> then Content.sizeOf content else size))

    /// <summary>Makes one.</summary>
    /// <returns>What is written goes behind what it has.</returns>
    member _.Create(path: string) : Stream =
        files[path] <- ""

        new SpoolStream(fun bytes ->
            if files.ContainsKey path then
                files[path] <- files[path] + Encoding.UTF8.GetString bytes)

    /// None: it was deleted.
    member _.TryRead(path: string) =
        match files.TryGetValue path with
        | true, content -> ValueSome content
        | _ -> ValueNone

    member _.Read(path: string) =
        match files.TryGetValue path with
        | true, content -> content
        | _ -> raise (Violation $"{path} is used after it was deleted")

    member _.Delete(path: string) =
        if not (files.Remove path) then
            raise (Violation $"{path} is deleted twice")

    member _.Paths = files.Keys

    /// The bytes of a result.
    member spool.Result(result: Content) =
        match result with
        | Bytes bytes -> Encoding.UTF8.GetString bytes
        | Spooled(path, _) -> spool.Read path

    /// The bytes that a payload stands for.
    member spool.Content(payload: Payload, submission: Submission) =
        match payload with
        | Packed -> Encoding.UTF8.GetString submission.Packed.Span
        | Kept(Held content) -> spool.Result content
        | Journaled
        | Kept(Recorded _) -> raise (Violation "nothing is left to the journal here")
        | Input stamp -> Content.ofFile submission.Name stamp.modified
        | Slice(whole, start, size) -> Content.slice (spool.Content(whole, submission)) start size

    /// Whoever was given this result for good has used it.
    member spool.Consume(result: Content) =
        ValueOption.iter spool.Delete (Content.file result)
