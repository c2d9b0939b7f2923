namespace FsScheduler.Execution

open System.Text
open FsScheduler.Core
open FsScheduler.Stages

/// <summary>How one result is made of all lines of a text: what is known of them is added up piece by piece, also on
/// many workers.</summary>
/// <remarks>The law: `merge` of what is known of two texts of whole lines is what is known of both, one behind the other.
/// So `merge` is associative, and `seed` is its neutral element.</remarks>
type Aggregate<'State> = {
    /// What is known of no lines; a new one for each call, if states are changed in place.
    seed: unit -> 'State
    /// With one more line, which is given without its end.
    add: 'State -> string -> 'State
    /// Of the lines of both, those of the left one first.
    merge: 'State -> 'State -> 'State
    /// The result, of all lines.
    result: 'State -> string
    /// As a text without line ends, for another worker.
    write: 'State -> string
    /// What was written.
    read: string -> 'State
}

/// A worker's own stages that can be run on pieces of a large payload: several functions each, for `WorkerOptions.functions`.
module SplittableStages =

    /// Lines with their ends, `\n` or `\r\n`, which the last one need not have.
    let private linesOf (text: string) : struct (string * string) seq =
        seq {
            let mutable start = 0

            while start < text.Length do
                let newline =
                    match text.IndexOf('\n', start) with
                    | -1 -> text.Length
                    | at -> at

                let hasReturn = newline < text.Length && newline > start && text[newline - 1] = '\r'

                let ending = if hasReturn then newline - 1 else newline
                let next = min text.Length (newline + 1)
                struct (text[start .. ending - 1], text[ending .. next - 1])
                start <- next
        }

    /// <summary>A stage that does the same with each line. Line ends stay as they are, and so does a byte order mark in
    /// front of the text, which is not part of its first line.</summary>
    /// <param name="name">Of the stage.</param>
    /// <param name="transform">What becomes of a line, given without its end; `None`: it is left out.</param>
    let perLine (name: string) (transform: string -> string option) =
        let run =
            StageFunction.ofUnmarked StageFunction.Kept (fun text ->
                let result = StringBuilder()

                for struct (line, ending) in linesOf text do
                    match transform line with
                    | Some changed -> result.Append(changed).Append(ending) |> ignore
                    | None -> ()

                string result)

        [ name, run; name + Stage.linesForm, run ]

    /// <summary>A stage that makes one result of all lines; a byte order mark in front of them is not part of the first.
    /// </summary>
    /// <param name="name">Of the stage.</param>
    /// <param name="aggregate">How.</param>
    let aggregate (name: string) (aggregate: Aggregate<'State>) =
        let add text =
            (aggregate.seed (), linesOf text)
            ||> Seq.fold (fun state (struct (line, _)) -> aggregate.add state line)

        let part text =
            let written = aggregate.write (add text)

            if written.Contains '\n' then
                raise (StageException($"what {name} writes of its state has a line end", false))

            written + "\n"

        let merge (text: string) =
            // Each ends with a newline; a carriage return before it is part of what was written.
            text.Split '\n'
            |> Seq.take (Seq.length (Seq.filter ((=) '\n') text))
            |> Seq.map aggregate.read
            |> Seq.fold aggregate.merge (aggregate.seed ())
            |> aggregate.result

        [
            name, StageFunction.ofUnmarked StageFunction.Dropped (add >> aggregate.result)
            name + Stage.partForm, StageFunction.ofUnmarked StageFunction.Dropped part
            name + Stage.mergeForm, StageFunction.ofText merge
        ]
