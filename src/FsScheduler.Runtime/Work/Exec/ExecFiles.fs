namespace FsScheduler.Runtime.Exec

open System
open System.IO
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Runtime
open FsScheduler.Runtime.Stages

/// The files of a program that wants paths, where its arguments name them.
type internal ExecFiles = {
    /// With the paths in their places.
    arguments: string[]
    /// Where the payload goes. Null: it is the standard input.
    input: string | null
    /// Where the result comes from. Null: it is the standard output.
    output: string | null
}

module internal ExecFiles =

    let private inPlace = "{in}"
    let private outPlace = "{out}"

    /// Many programs go by the extension. It is the only part of a name from elsewhere that becomes part of a path here.
    let private extensionOf (name: string) =
        let dot = name.LastIndexOf '.'

        if
            dot < 0
            || name.Length - dot > 17
            || not (Seq.forall Char.IsAsciiLetterOrDigit name[dot + 1 ..])
        then
            ""
        else
            name[dot..]

    /// <summary>Puts paths into the arguments of `exec-file`.</summary>
    /// <param name="kind">Of other stages the arguments stay as they are.</param>
    /// <param name="arguments">`{in}` and `{out}` may stand anywhere in them.</param>
    /// <param name="folder">Where the files are.</param>
    /// <param name="name">What the task is called: `{in}` has its extension.</param>
    let place kind (arguments: string[]) (folder: string) (name: string) : ExecFiles =
        let isThere (place: string) =
            kind = OnFiles && arguments |> Array.exists _.Contains(place)

        let input: string | null =
            if isThere inPlace then
                Path.Combine(folder, "in" + extensionOf name)
            else
                null

        let output: string | null =
            if isThere outPlace then
                Path.Combine(folder, "out")
            else
                null

        // Both at once: a path that is put in is not looked at again.
        let replaced (argument: string) =
            argument.Split inPlace
            |> Array.map (fun part ->
                match output with
                | null -> part
                | output -> part.Replace(outPlace, output))
            |> String.concat (
                match input with
                | null -> inPlace
                | input -> input
            )

        {
            arguments =
                (if isNull input && isNull output then
                     arguments
                 else
                     Array.map replaced arguments)
            input = input
            output = output
        }

    /// Puts the payload where the program will look for it.
    let writeInput (files: ExecFiles) (payload: Payload) : Task =
        task {
            match files.input, payload with
            | null, _ -> ()
            | path, Bytes bytes -> do! File.WriteAllBytesAsync(path, bytes)
            | path, _ ->
                use from = SpoolFile.openPayload payload
                use file = File.Create path
                do! from.CopyToAsync file
        }

    /// <summary>Takes the result from where the program has put it.</summary>
    /// <param name="program">For messages.</param>
    /// <param name="path">Where it is.</param>
    /// <param name="newFile">Names a file that outlives the folder, for a result that is too large for memory.</param>
    /// <param name="memoryMax">The largest result in memory, in bytes.</param>
    /// <param name="bytesMax">The largest result.</param>
    /// <exception cref="T:FsScheduler.Runtime.Stages.StageException">It is missing, no file, or too large.</exception>
    let readOutput
        (program: string)
        (path: string)
        (newFile: unit -> string)
        (memoryMax: int)
        (bytesMax: Size)
        =
        task {
            let file = FileInfo path

            if not file.Exists then
                raise (
                    StageException($"{program} ended well, but has not written {outPlace}", true)
                )

            if not (isNull file.LinkTarget) then
                raise (StageException($"{program} has made a link of {outPlace}, not a file", true))

            let size = file.Length * 1L<B>

            if size > bytesMax then
                raise (ResultSink.TooLarge bytesMax)

            if file.Length <= int64 memoryMax then
                let! bytes = File.ReadAllBytesAsync path
                return Bytes bytes
            else
                let kept = newFile ()
                File.Move(path, kept)
                return Spooled(kept, size)
        }
