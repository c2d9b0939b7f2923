// What processes and folders take, over time, and whether it stays level: for the soak of chaos.fsx.

open System
open System.Collections.Generic
open System.Diagnostics
open System.Globalization
open System.IO

/// What is measured of each process or folder. No number: there is none to be had.
type Sample = { seconds: float; name: string; measure: string; value: float }

let private ofProcess (name: string) (one: Process) =
    let folder = $"/proc/{one.Id}"

    let status (field: string) =
        File.ReadLines($"{folder}/status")
        |> Seq.tryFind (fun line -> line.StartsWith(field + ":", StringComparison.Ordinal))
        |> Option.map (fun line ->
            float (line.Split([| ' '; '\t' |], StringSplitOptions.RemoveEmptyEntries)[1]))

    try
        if one.HasExited then
            []
        elif Directory.Exists folder then
            [
                for value in Option.toList (status "VmRSS") do
                    name, "MiB", Math.Round(value / 1024.0, 1)
                for value in Option.toList (status "Threads") do
                    name, "threads", value
                name, "descriptors", float (Directory.GetFileSystemEntries($"{folder}/fd").Length)
            ]
        else
            one.Refresh()

            [
                name, "MiB", Math.Round(float one.WorkingSet64 / 1048576.0, 1)
                name, "threads", float one.Threads.Count
            ]
    with
    | :? IOException
    | :? UnauthorizedAccessException
    | :? InvalidOperationException -> []

/// Files come and go while they are counted.
let private ofFolder (name: string) (folder: string) =
    try
        let files =
            Directory.EnumerateFiles(
                folder,
                "*",
                EnumerationOptions(
                    RecurseSubdirectories = true,
                    AttributesToSkip = FileAttributes.None,
                    IgnoreInaccessible = true
                )
            )
            |> Seq.choose (fun path ->
                try
                    Some (FileInfo path).Length
                with :? IOException ->
                    None)
            |> List.ofSeq

        [
            name, "files", float files.Length
            name, "MB", Math.Round(float (List.sum files) / 1e6, 1)
        ]
    with :? IOException -> []

/// <summary>Takes samples, and writes them down at once.</summary>
/// <param name="csv">A new file: `seconds,name,measure,value`.</param>
type Gauges(csv: string) =
    let samples = List<Sample>()
    let clock = Stopwatch.StartNew()
    do File.WriteAllText(csv, "seconds,name,measure,value\n")

    member _.Take(processes: (string * Process) list, folders: (string * string) list) =
        let seconds = Math.Round(clock.Elapsed.TotalSeconds, 1)

        let taken = [
            for name, one in processes do
                yield! ofProcess name one
            for name, folder in folders do
                yield! ofFolder name folder
        ]

        for name, measure, value in taken do
            samples.Add { seconds = seconds; name = name; measure = measure; value = value }

        let line (name, measure, value: float) =
            FormattableString.Invariant $"{seconds},{name},{measure},{value}\n"

        File.AppendAllText(csv, taken |> List.map line |> String.concat "")

    member _.Curves: ((string * string) * Sample list) list =
        samples
        |> List.ofSeq
        |> List.groupBy (fun sample -> sample.name, sample.measure)

let private median (values: float list) =
    let sorted = List.sort values
    sorted[sorted.Length / 2]

let private between first last (curve: Sample list) =
    curve
    |> List.filter (fun sample -> first <= sample.seconds && sample.seconds < last)
    |> List.map _.value

/// What a level curve may still grow by, from the median of its second third to that of its last.
let private slack measure =
    match measure with
    | "MiB" -> 24.0
    | "threads" -> 8.0
    | "descriptors" -> 16.0
    | "files" -> 24.0
    // The journal's log is emptied now and then.
    | _ -> 16.0

/// The medians of a dozen equal times, one row for each curve.
let table (gauges: Gauges) (seconds: float) : string list =
    let columns = 12
    let width = seconds / float columns

    let heads =
        [
            for column in 1..columns ->
                let minutes =
                    (float column * width / 60.0).ToString("0.#", CultureInfo.InvariantCulture)

                $"{minutes, 7}"
        ]
        |> String.concat ""

    [
        $"""{"median until minute", -24}{heads}"""
        for (name, measure), curve in gauges.Curves do
            let cells =
                [
                    for column in 0 .. columns - 1 ->
                        match between (float column * width) (float (column + 1) * width) curve with
                        | [] -> $"""{"-", 7}"""
                        | values ->
                            let text = (median values).ToString("0.#", CultureInfo.InvariantCulture)
                            $"{text, 7}"
                ]
                |> String.concat ""

            let head = name + " " + measure
            $"{head, -24}{cells}"
    ]

/// What was not level: the median of the last third is well over that of the second one.
let growing (gauges: Gauges) (seconds: float) : string list = [
    for (name, measure), curve in gauges.Curves do
        let second = between (seconds / 3.0) (seconds * 2.0 / 3.0) curve
        let last = between (seconds * 2.0 / 3.0) Double.MaxValue curve

        if not second.IsEmpty && not last.IsEmpty then
            let before, after = median second, median last

            if after > before * 1.2 + slack measure then
                $"{name} {measure}: {before} in the second third, {after} in the last"
]
