// The words of one large text, counted by several workers at once: the text is cut into pieces, each piece is counted by
// one of them, and the counts are merged.
//
//     dotnet fsi scripts/wordcount.fsx                  64 MiB, four workers
//     dotnet fsi scripts/wordcount.fsx --size 1GiB      a gibibyte
//     dotnet fsi scripts/wordcount.fsx --workers 2      with two
//     dotnet fsi scripts/wordcount.fsx --keep           leaves the text and the counts where they are, and says where
//
// The text is generated, so the script knows what must come out, and looks. Exit code 1: it did not.

#r "nuget: Spectre.Console, 0.57.2"
#load "build.fsx"

open System
open System.Collections.Generic
open System.Diagnostics
open System.Globalization
open System.IO
open System.Text
open Spectre.Console

// ---- What was asked for

type Options = { workers: int; size: int64; keep: bool }

let refuse (message: string) : 'never =
    eprintfn
        $"{message}\nusage: dotnet fsi scripts/wordcount.fsx [--size SIZE] [--workers N] [--keep]"

    exit 2

let sizeOf (text: string) =
    let units = [ "GiB", 1L <<< 30; "MiB", 1L <<< 20; "KiB", 1L <<< 10 ]

    match units |> List.tryFind (fun (unit, _) -> text.EndsWith unit) with
    | Some(unit, factor) ->
        match Int64.TryParse(text.Substring(0, text.Length - unit.Length)) with
        | true, value when value >= 1L && value <= 64L * 1024L * 1024L -> value * factor
        | _ -> refuse $"--size takes a size such as 64MiB, not '{text}'"
    | None -> refuse $"--size takes a size such as 64MiB, not '{text}'"

let rec parse options arguments =
    match arguments with
    | [] -> options
    | "--keep" :: rest -> parse { options with keep = true } rest
    | "--size" :: value :: rest -> parse { options with size = sizeOf value } rest
    | "--workers" :: value :: rest ->
        match Int32.TryParse(value: string) with
        | true, count when count >= 1 && count <= 64 -> parse { options with workers = count } rest
        | _ -> refuse $"--workers takes a number from 1 to 64, not '{value}'"
    | other :: _ -> refuse $"what is '{other}'?"

let options =
    fsi.CommandLineArgs
    |> Array.toList
    |> List.tail
    |> parse { workers = 4; size = 64L <<< 20; keep = false }

Build.buildWhatIsMissing ()

// ---- A text, and its words

let words =
    "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu sua ou ser \
     quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem mesmo aos ter seus quem nas me \
     coração manhã João ação lição água céu órgão três avó avô você ímã úmido português saudade árvore pássaro rua casa"
        .Split(' ', StringSplitOptions.RemoveEmptyEntries)

let folder = Directory.CreateTempSubdirectory "wordcount-"
let at (path: string) = Path.Combine(folder.FullName, path)
let expected = Dictionary<string, int64>()

/// The first words are the most frequent ones, as in any language (Zipf, 1935): word number n comes 1/n times as often.
let write () =
    let random = Random 1
    let weights = words |> Array.mapi (fun index _ -> 1.0 / float (index + 1))
    let sums = weights |> Array.scan (+) 0.0

    let pick () =
        let value = random.NextDouble() * sums[words.Length]
        let index = Array.BinarySearch(sums, value)
        min (words.Length - 1) (if index >= 0 then index else ~~~index - 1)

    // A page that is written again and again, with another number of words a line each time: fast, and not quite regular.
    let page = [| for _ in 1..40_000 -> pick () |]

    use output =
        new FileStream(
            at "entrada/texto.txt",
            FileMode.CreateNew,
            FileAccess.Write,
            FileShare.None,
            1 <<< 20
        )

    let counts = Array.zeroCreate<int64> words.Length
    let line = StringBuilder()
    let mutable next = 0

    while output.Position < options.size do
        line.Clear() |> ignore

        for _ in 0 .. random.Next 20 do
            let index = page[next]
            next <- (next + 1) % page.Length
            counts[index] <- counts[index] + 1L

            let word = words[index]
            let isTitle = random.Next 16 = 0

            line.Append(if isTitle then word.ToUpper(CultureInfo "pt-BR") else word).Append ' '
            |> ignore

        line.Append '\n' |> ignore
        output.Write(ReadOnlySpan(Encoding.UTF8.GetBytes(string line)))

    for index in 0 .. words.Length - 1 do
        let word = words[index].ToLowerInvariant()
        expected[word] <- expected.GetValueOrDefault word + counts[index]

for name in [ "entrada"; "resultados" ] do
    Directory.CreateDirectory(at name) |> ignore

printfn $"writing {options.size >>> 20} MiB of text ..."
write ()

// ---- The work

let clock = Stopwatch.StartNew()

let scheduler =
    let arguments = [
        "--once"
        "--listen"
        "127.0.0.1:0"
        "--workers"
        string options.workers
        "--settle"
        "0ms"
        "--pipeline"
        "lower | freq"
        "--log-level"
        "error"
    ]

    let start =
        ProcessStartInfo(Build.scheduler, arguments, WorkingDirectory = folder.FullName)

    start.RedirectStandardOutput <- true
    nonNull (Process.Start start)

scheduler.StandardOutput.ReadToEnd() |> ignore
scheduler.WaitForExit()

if scheduler.ExitCode <> 0 then
    eprintfn $"fs-scheduler ended with {scheduler.ExitCode}; its folder is {folder.FullName}"
    exit 1

let seconds = clock.Elapsed.TotalSeconds

let counts = [
    for line in File.ReadLines(at "resultados/texto.txt.out") do
        let tab = line.IndexOf '\t'
        line.Substring(tab + 1), Int64.Parse(line.Substring(0, tab), CultureInfo.InvariantCulture)
]

// ---- What came of it

let table =
    Table().RoundedBorder().AddColumn("word").AddColumn(TableColumn("times").RightAligned())

for word, count in counts |> List.sortByDescending snd |> List.truncate 10 do
    table.AddRow(word, count.ToString("N0", CultureInfo.InvariantCulture)) |> ignore

AnsiConsole.Write table
let megabytes = float options.size / 1e6

printfn
    $"{megabytes:F0} MB by {options.workers} workers in {seconds:F1} s, {megabytes / seconds:F0} MB/s, processes and all"

let isRight =
    set counts =
        set [
            for KeyValue(word, count) in expected do
                if count > 0L then
                    word, count
        ]

if options.keep then
    printfn $"the text and the counts are in {folder.FullName}"
else
    folder.Delete true

if isRight then
    printfn "the counts are right"
else
    eprintfn "the counts are WRONG"
    exit 1
