namespace FsScheduler.Core

/// A file whose present version was done by an earlier run.
type FileDoneBefore = {
    name: string
    /// What was done with it; none where that is forgotten.
    before: string voption
    /// What would be done with it now; none where its folder's `pipeline.txt` is none.
    now: string voption
    /// Whether its result is in its place.
    hasResult: bool
}

/// What earlier runs have done that this one leaves as it is, and what is to be said of that.
type DoneBefore = {
    /// How many files.
    count: int
    /// The pipelines that they were done with, the most frequent first.
    pipelines: string list
    /// How many would get another pipeline now, with one of them: what it got, and what it would get.
    changed: struct (int * string * string) voption
    /// How many results are not there any more, with the name of one of them.
    gone: struct (int * string) voption
}

module DoneBefore =

    /// Pipelines that are named; of more only the number is told.
    let private namedMax = 3

    let none = { count = 0; pipelines = []; changed = ValueNone; gone = ValueNone }

    let ofFiles (files: FileDoneBefore seq) : DoneBefore =
        let files = Seq.toArray files

        let changed =
            files
            |> Array.choose (fun file ->
                match file.before, file.now with
                | ValueSome before, ValueSome now when before <> now -> Some(struct (before, now))
                | _ -> None)

        let gone = files |> Array.filter (fun file -> not file.hasResult)

        {
            count = files.Length
            pipelines =
                files
                |> Array.choose (fun file -> ValueOption.toOption file.before)
                |> Array.countBy id
                |> Array.sortBy (fun (pipeline, count) -> -count, pipeline)
                |> Array.map fst
                |> List.ofArray
            changed =
                match Array.tryHead changed with
                | Some(struct (before, now)) -> ValueSome(struct (changed.Length, before, now))
                | None -> ValueNone
            gone =
                match Array.tryHead gone with
                | Some file -> ValueSome(struct (gone.Length, file.name))
                | None -> ValueNone
        }

    let private files count =
        if count = 1 then "1 file was" else $"{count} files were"

    /// What whoever starts a scheduler has to know: a sentence for each thing that they may not expect.
    let warnings (done': DoneBefore) : string list = [
        match done'.changed with
        | ValueSome(struct (count, before, now)) ->
            $"{files count} done before with another pipeline, such as '{before}' where it would be '{now}' now, and not done again: --again does all files again"
        | ValueNone -> ()

        match done'.gone with
        | ValueSome(struct (1, name)) ->
            $"the result of {name}, which was done before, is not there any more; it may have been fetched, and is not made again: --again does all files again"
        | ValueSome(struct (count, name)) ->
            $"the results of {count} files that were done before are not there any more, such as that of {name}; they may have been fetched, and are not made again: --again does all files again"
        | ValueNone -> ()
    ]

    /// What was done, in this run and before it, for the end of a run: `2 done`, or `0 done now, 2 done before with 'lower'`.
    let summary (now: int64) (done': DoneBefore) : string =
        let pipelines =
            match done'.pipelines with
            | [] -> ""
            | named when named.Length <= namedMax ->
                let quoted = named |> List.map (fun pipeline -> $"'{pipeline}'")
                " with " + String.concat ", " quoted
            | many -> $" with {many.Length} pipelines"

        if done'.count = 0 then
            $"{now} done"
        else
            $"{now} done now, {done'.count} done before{pipelines}"
