// The main job, on one machine: a scheduler, some workers, and the files of `entrada/`.
//
//     dotnet fsi scripts/run-local.fsx                  what is in entrada/, with two workers
//     dotnet fsi scripts/run-local.fsx --workers 4      with four
//     dotnet fsi scripts/run-local.fsx --files 5000     5,000 generated files instead, checked at the end
//     dotnet fsi scripts/run-local.fsx --kill           kills a worker in the middle, and nothing is lost
//
// Real processes that talk over real TCP: what happens here is what happens on twenty machines.
// The exit code is that of the job: 0 when all is done, 1 when something is in quarantine.

#r "nuget: Spectre.Console, 0.57.2"
#load "build.fsx"

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Net.Sockets
open System.Text.Json
open Spectre.Console

// ---- What was asked for

type Options = { workers: int; files: int option; kill: bool }

let usage =
    "usage: dotnet fsi scripts/run-local.fsx [--workers N] [--files N] [--kill]"

let refuse (message: string) : 'never =
    eprintfn $"{message}\n{usage}"
    exit 2

let count (option: string) (most: int) (text: string) =
    match Int32.TryParse text with
    | true, value when value >= 1 && value <= most -> value
    | _ -> refuse $"{option} takes a number from 1 to {most}, not '{text}'"

let rec parse options arguments =
    match arguments with
    | [] -> options
    | "--help" :: _ ->
        printfn $"{usage}"
        exit 0
    | "--kill" :: rest -> parse { options with kill = true } rest
    | "--workers" :: value :: rest ->
        parse { options with workers = count "--workers" 64 value } rest
    | "--files" :: value :: rest ->
        parse { options with files = Some(count "--files" 1_000_000 value) } rest
    | other :: _ -> refuse $"what is '{other}'?"

let options =
    fsi.CommandLineArgs
    |> Array.toList
    |> List.tail
    |> parse { workers = 2; files = None; kill = false }

// A kill in the middle wants a middle, and somebody who is left.
let fileCount =
    if options.kill then
        Some(defaultArg options.files 2_000)
    else
        options.files

let workerCount =
    if options.kill then
        max 2 options.workers
    else
        options.workers

Build.buildWhatIsMissing ()

// ---- The files

let playground =
    fileCount
    |> Option.map (fun _ -> Directory.CreateTempSubdirectory("fs-scheduler-").FullName)

let folder name =
    Path.Combine(defaultArg playground Build.root, name)

let entrada, resultados = folder "entrada", folder "resultados"

// A journal of its own, so that each run does the whole job. A scheduler that keeps its state does not do again what
// it has done.
let state = Directory.CreateTempSubdirectory("fs-scheduler-state-").FullName

let text number =
    $"Ficheiro número {number}: O SCHEDULER DEVE BALANCEAR A CARGA ENTRE NÓS.\nAÇÃO, ÓRGÃO, PINGÜIM.\n"

match fileCount with
| None -> ()
| Some files ->
    Directory.CreateDirectory entrada |> ignore

    for number in 1..files do
        File.WriteAllText(Path.Combine(entrada, $"f{number:D6}.txt"), text number)

Directory.CreateDirectory resultados |> ignore

// ---- The processes

let start (program: string) (arguments: string list) =
    let info = ProcessStartInfo(program, arguments)
    info.RedirectStandardInput <- true // a worker ends with us: its standard input does
    info.RedirectStandardOutput <- true
    info.RedirectStandardError <- true
    let started = Process.Start info

    started.ErrorDataReceived.Add(fun line ->
        if not (isNull line.Data) then
            eprintfn $"{line.Data}")

    started.BeginErrorReadLine()
    started

let quiet = [ "--log-level"; "warn" ]
let folders = [ "--entrada"; entrada; "--resultados"; resultados; "--state"; state ]

let schedulerProcess =
    start Build.scheduler ([ "--once"; "--listen"; "127.0.0.1:0" ] @ folders @ quiet)

let address =
    match schedulerProcess.StandardOutput.ReadLine() with
    | null ->
        schedulerProcess.WaitForExit()
        exit schedulerProcess.ExitCode
    | line -> line.Replace("listening on ", "")

let startWorker number =
    start
        Build.worker
        ([
            "--connect"
            address
            "--name"
            $"worker-{number}"
            "--give-up"
            "5s"
            "--end-with-stdin"
         ]
         @ quiet)

let workers = [| for number in 1..workerCount -> startWorker number |]

// ---- What it is doing: a client that asks for STATUS

type Progress = { finished: int64; left: int64; quarantined: int64; idle: int64; busy: int64 }

/// What each worker has finished, by name: also those that are gone.
let finishedBy = Dictionary<string, int64>()

let port = address.Substring(address.LastIndexOf ':' + 1) |> int
let client = new TcpClient("127.0.0.1", port)
let reader = new StreamReader(client.GetStream())
let writer = new StreamWriter(client.GetStream(), AutoFlush = true)

let ask () =
    try
        writer.Write "{\"type\":\"STATUS\"}\n"

        match reader.ReadLine() with
        | null -> None
        | line ->
            let status = JsonDocument.Parse(line).RootElement
            let number (name: string) = status.GetProperty(name).GetInt64()

            for worker in status.GetProperty("workers").EnumerateArray() do
                finishedBy[worker.GetProperty("name").GetString()] <-
                    worker.GetProperty("finished").GetInt64()

            Some {
                finished = number "finished"
                left = number "queued" + number "running" + number "waiting" + number "publishing"
                quarantined = number "quarantined"
                idle = number "idle"
                busy = number "busy"
            }
    with :? IOException ->
        None // the scheduler has ended: all is done

try
    writer.Write "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"client\",\"name\":\"run-local\"}\n"
    reader.ReadLine() |> ignore // WELCOME
with :? IOException ->
    () // so little to do that it has ended

let clock = Stopwatch.StartNew()

let rate (progress: Progress) =
    float progress.finished / max 0.001 clock.Elapsed.TotalSeconds

let mutable killed = false

let killInTheMiddle (progress: Progress) =
    let all = fileCount |> Option.defaultValue 0 |> int64

    if options.kill && not killed && progress.finished >= all / 10L then
        killed <- true
        workers[0].Kill()
        Some $"killed worker-1 after {progress.finished} of {all} files"
    else
        None

let rec watch (show: Progress -> unit) (say: string -> unit) =
    match ask () with
    | None -> ()
    | Some progress ->
        show progress
        killInTheMiddle progress |> Option.iter say
        // A person sees ten pictures a second; the scheduler hardly notices being asked.
        schedulerProcess.WaitForExit(if options.kill && not killed then 5 else 100)
        |> ignore

        watch show say

let workersNow (progress: Progress) =
    $"{progress.idle} idle and {progress.busy} busy workers"

if Console.IsOutputRedirected then
    let mutable told = -1L
    let mutable toldAt = -1_000L

    watch
        (fun progress ->
            let isNews = progress.finished <> told && clock.ElapsedMilliseconds - toldAt >= 500L

            if
                isNews
                || progress.finished > 0L && progress.left = 0L && progress.finished <> told
            then
                toldAt <- clock.ElapsedMilliseconds
                told <- progress.finished

                printfn
                    $"{told} done, {progress.left} left, {rate progress:F0} files/s, {workersNow progress}")
        (printfn "%s")
else
    AnsiConsole
        .Progress()
        .AutoClear(false)
        .Columns(TaskDescriptionColumn(), ProgressBarColumn(), PercentageColumn())
        .Start(fun context ->
            let bar = context.AddTask("starting", maxValue = 1.0)

            watch
                (fun progress ->
                    let all = progress.finished + progress.left + progress.quarantined
                    bar.MaxValue <- float (max 1L all)
                    bar.Value <- float (progress.finished + progress.quarantined)
                    bar.Description <- $"{rate progress:F0} files/s, {workersNow progress}")
                (fun text -> AnsiConsole.MarkupLine $"[yellow]{text}[/]")

            bar.Value <- bar.MaxValue)

// ---- What was done

// The scheduler's last words are one line a worker: `worker NAME finished N failed N`.
let lastWords = schedulerProcess.StandardOutput.ReadToEnd()
schedulerProcess.WaitForExit()

for line in lastWords.Split '\n' do
    match line.TrimEnd().Split ' ' with
    | [| "worker"; name; "finished"; finished; "failed"; _ |] -> finishedBy[name] <- int64 finished
    | _ -> ()

for worker in workers do
    worker.StandardInput.Close()

for worker in workers do
    if not (worker.WaitForExit 15_000) then
        worker.Kill()

if finishedBy.Count > 0 then
    let table =
        Table().AddColumn("worker").AddColumn(TableColumn("files").RightAligned())

    for KeyValue(name, finished) in finishedBy |> Seq.sortBy _.Key do
        table.AddRow(name, string finished) |> ignore

    AnsiConsole.Write table

// The results of generated files are known.
let wrong =
    match fileCount with
    | None -> 0
    | Some files ->
        let isRight number =
            let result = Path.Combine(resultados, $"f{number:D6}.txt.out")
            File.Exists result && File.ReadAllText result = (text number).ToLowerInvariant()

        let right = seq { 1..files } |> Seq.filter isRight |> Seq.length
        printfn $"{right} of {files} results are there and right"
        files - right

Option.toList playground @ [ state ]
|> List.iter (fun folder -> Directory.Delete(folder, true))

let exitCode =
    if schedulerProcess.ExitCode = 0 && wrong > 0 then
        1
    else
        schedulerProcess.ExitCode

let seconds = clock.Elapsed.TotalSeconds
let shown = Path.GetRelativePath(Environment.CurrentDirectory, resultados)

match exitCode, fileCount with
| 0, None -> printfn $"done in {seconds:F1} s: the results are in {shown}"
| 0, Some _ -> printfn $"done in {seconds:F1} s"
| 1, None -> eprintfn $"something is in quarantine: see *.err in {shown}"
| 1, Some _ -> eprintfn "results are missing or wrong"
| code, _ -> eprintfn $"the scheduler ended with exit code {code}"

exit exitCode
