namespace FsScheduler.Execution

open System.Text
open FsScheduler.Core
open FsScheduler.Stages

/// <summary>Makes one result of all lines of a text, by way of the merged states of its pieces.</summary>
/// <remarks>Law: `merge` of the states of two texts of whole lines is the state of the one followed by the other. So
/// `merge` is associative, with `seed` as its neutral element.</remarks>
type Aggregate<'State> = {
    /// The state of no lines; a new one for each call if states are mutable.
    seed: unit -> 'State
    /// The state with one more line, given without its line end.
    add: 'State -> string -> 'State
    /// The state of the lines of both, those of the left one first.
    merge: 'State -> 'State -> 'State
    /// The result of a state.
    result: 'State -> string
    /// Writes a state as a text without line ends, for another worker.
    write: 'State -> string
    /// Reads a state that `write` has written.
    read: string -> 'State
}

/// Stages in code that can be run on pieces of a large payload: several functions each, for `WorkerOptions.functions`.
module SplittableStages =

    /// The lines with their ends, `
    /// ` or `\r
    /// `; the last line may have none.
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

    /// <summary>A stage that transforms each line. Line ends stay as they are, and so does a leading byte order mark,
    /// which is not part of the first line.</summary>
    /// <param name="name">The name of the stage.</param>
    /// <param name="transform">The new line, given the line without its end; `None` removes the line.</param>
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

    /// <summary>A stage that makes one result of all lines, without a leading byte order mark.</summary>
    /// <param name="name">The name of the stage.</param>
    /// <param name="aggregate">How the result is made.</param>
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
            // Each state ends with a newline; a carriage return before it belongs to the state.
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
