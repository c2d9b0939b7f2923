namespace FsScheduler.Machine

open FsScheduler.Core

/// A file whose present version was processed by an earlier run.
type FileDoneBefore = {
    name: string
    /// The pipeline that processed the file; none where it is forgotten.
    before: string voption
    /// The pipeline that the file would get now; none where the `pipeline.txt` of its folder is invalid.
    now: string voption
    hasResult: bool
}

/// The files that earlier runs processed and this run skips, and what the user has to know about them.
type DoneBefore = {
    count: int
    /// The pipelines that processed the files, the most frequent first.
    pipelines: string list
    /// How many files would get another pipeline now, and of one of them the old and the new pipeline.
    changed: struct (int * string * string) voption
    /// How many results are missing from `resultados/`, and the name of one of them.
    gone: struct (int * string) voption
}

module DoneBefore =

    /// The most pipelines that a summary names; of more it tells only the number.
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

    /// A warning for each surprise: files skipped although their pipeline changed, results that are missing.
    let warnings (earlier: DoneBefore) : string list = [
        match earlier.changed with
        | ValueSome(struct (count, before, now)) ->
            $"{files count} done before with another pipeline, such as '{before}' where it would be '{now}' now, and not done again: --again does all files again"
        | ValueNone -> ()

        match earlier.gone with
        | ValueSome(struct (1, name)) ->
            $"the result of {name}, which was done before, is not there any more; it may have been fetched, and is not made again: --again does all files again"
        | ValueSome(struct (count, name)) ->
            $"the results of {count} files that were done before are not there any more, such as that of {name}; they may have been fetched, and are not made again: --again does all files again"
        | ValueNone -> ()
    ]

    /// The counts at the end of a run: `2 done`, or `0 done now, 2 done before with 'lower'`.
    let summary (now: int64) (earlier: DoneBefore) : string =
        let pipelines =
            match earlier.pipelines with
            | [] -> ""
            | named when named.Length <= namedMax ->
                let quoted = named |> List.map (fun pipeline -> $"'{pipeline}'")
                " with " + String.concat ", " quoted
            | many -> $" with {many.Length} pipelines"

        if earlier.count = 0 then
            $"{now} done"
        else
            $"{now} done now, {earlier.count} done before{pipelines}"
