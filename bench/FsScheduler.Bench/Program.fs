module FsScheduler.Bench.Program

open Spectre.Console

let private benches = [
    "tasks", TaskBench.throughput
    "stages", TaskBench.stages
    "latency", TaskBench.latency
    "million", MillionBench.run
    "files", FileBench.run
    "machine", MachineBench.run
    "journal", JournalBench.run
    "split", SplitBench.run
    "sort", SortBench.run
    "exec", ExecBench.run
]

[<EntryPoint>]
let main args =
    let names = List.map fst benches

    match args |> Array.tryFind (fun arg -> not (List.contains arg names)) with
    | Some unknown ->
        let known = String.concat ", " names

        eprintfn
            $"there is no bench '{unknown}'; there are {known}; without a name, all of them run"

        2
    | None ->
        let table =
            Table()
                .AddColumn("what")
                .AddColumn(TableColumn("measured").RightAligned())
                .AddColumn("how")

        for name, bench in benches do
            if args.Length = 0 || Array.contains name args then
                eprintfn $"{name} ..."

                for row in bench () do
                    table.AddRow(
                        Markup.Escape row.what,
                        Markup.Escape row.value,
                        Markup.Escape row.note
                    )
                    |> ignore

        Folders.deleteAll ()
        AnsiConsole.Profile.Width <- max 110 AnsiConsole.Profile.Width
        AnsiConsole.Write table
        0
