// One scheduler and its workers for a long time, with all that blows.fsx has; do they take more and more? For chaos.fsx.

#load "build.fsx"
#load "processes.fsx"
#load "blows.fsx"
#load "answers.fsx"
#load "gauges.fsx"

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Threading
open Processes
open Blows
open Answers

let private sampledEvery = TimeSpan.FromSeconds 10.0

/// As many lines as a scheduler keeps for a reader that may come back, and more: see StandardStreams.fs.
let private linesKept = 4_500

/// What is put in before some of it has to be done.
let private waitingMax = 1_000L

/// <summary>The scheduler and a worker live all the time; others are killed, stopped, or fail every task.</summary>
/// <param name="time">How long there are blows.</param>
/// <param name="seed">Of what is dealt.</param>
/// <param name="csv">Gets the samples.</param>
/// <param name="folder">Empty.</param>
let soak (time: TimeSpan) (seed: int) (csv: string) (folder: string) =
    let random = Random seed
    let at (path: string) = Path.Combine(folder, path)
    let log = at "log.txt"
    let address = $"127.0.0.1:{freePort ()}"
    let pick (choices: 'T list) = choices[random.Next choices.Length]
    let gate = new ManualResetEventSlim(true)
    let always = new ManualResetEventSlim(true)

    let temporaryOf (name: string) =
        let path = at $"tmp/{name}"
        Directory.CreateDirectory path |> ignore
        "TMPDIR", path

    for name in [ "entrada"; "from"; "to" ] do
        Directory.CreateDirectory(at name) |> ignore

    let schedulerArguments = [
        "--listen"
        address
        "--pipeline"
        "lower | exec:cat | trim"
        "--expect"
        "exec:cat"
        "--split"
        "256KiB"
        "--spool-bytes"
        "16MiB"
        "--settle"
        "0ms"
        "--beat"
        "200ms"
        "--lost-after"
        "2s"
        "--retain"
        "30s"
        "--retain-bytes"
        "4MiB"
    ]

    let scheduler =
        Victim(
            "scheduler",
            fun () ->
                startGated
                    gate
                    [ temporaryOf "scheduler" ]
                    folder
                    log
                    Build.scheduler
                    schedulerArguments
        )

    let workerOf name environment =
        let arguments = [
            "--connect"
            address
            "--name"
            name
            "--slots"
            "4"
            "--allow-exec"
            "cat"
        ]

        Victim(
            name,
            fun () ->
                startGated
                    always
                    (temporaryOf name :: environment)
                    folder
                    log
                    Build.worker
                    arguments
        )

    let steady = workerOf "steady" []
    let others = [ workerOf "killed-1" []; workerOf "killed-2" [] ]

    let failing =
        if canStop then
            [ workerOf "broken" [ ("PATH", broken (at "broken")) ] ]
        else
            []

    let workers = steady :: others @ failing

    let verb arguments =
        startGated always [] folder log Build.scheduler (arguments @ [ "--connect"; address ])

    let ask arguments =
        use one = verb arguments
        let code = codeOf one
        started.Remove one |> ignore
        code

    eventually "the scheduler listens" (fun () -> ask [ "status" ] = 0)

    let files = Dictionary<string, string>()

    let putText (name: string) (content: string) =
        files[name] <- content

        Directory.CreateDirectory(nonNull (Path.GetDirectoryName(at $"entrada/{name}")))
        |> ignore

        File.WriteAllText(at "entrada/next.tmp", content)
        File.Move(at "entrada/next.tmp", at $"entrada/{name}", true)

    let putAs (name: string) =
        putText name (text name (random.Next 5 * (if random.Next 12 = 0 then 2_000 else 1)))

    let names = [
        for folder in 0..3 do
            for file in 0..99 -> $"d{folder}/f{file}.txt"
    ]

    let put () = putAs (pick names)

    let submit () =
        let name = $"from/s{random.Next 20}.txt"
        File.WriteAllText(at name, text name (random.Next 5))
        use one = verb [ "submit"; name; "--out"; "to" ]
        codeOf one |> ignore
        started.Remove one |> ignore

    let gauges = Gauges.Gauges csv

    let take () =
        gauges.Take(
            [ for victim in scheduler :: workers -> victim.Name, victim.Process ],
            [
                "temporary", at "tmp"
                "state", at ".fs-scheduler"
                "results", at "resultados"
            ]
        )

    let freeFromQuarantine () =
        let held = quarantined address

        if held > 0L then
            tally "freed from quarantine" (int held)
            ask [ "retry"; "--all" ] |> ignore

    let isSaidSince (position: int64) (text: string) =
        lock log (fun () ->
            use file = File.OpenRead log
            file.Position <- position
            use reader = new StreamReader(file)
            reader.ReadToEnd().Contains text)

    let sinceFreed = Stopwatch.StartNew()

    /// Now and then: what the worker that fails everything had is tried again.
    let freeSometimes () =
        if sinceFreed.Elapsed > TimeSpan.FromSeconds 3.0 then
            sinceFreed.Restart()
            freeFromQuarantine ()

    /// Nobody reads the log: the scheduler does its work all the same, drops what is too much, and says so later.
    let block () =
        let blow = "stopped reading the log"
        let position = FileInfo(log).Length
        let waiting = fillLog address gate scheduler.Process

        try
            let name = pick names
            // A version that is no other's.
            let content = text name (5 + count.GetValueOrDefault blow)
            putText name content

            eventually "a result while nobody reads the log" (fun () ->
                freeSometimes ()
                isResult (at $"resultados/{name}.out") content)

            strangers address linesKept

            if ask [ "status" ] <> 0 then
                raise (Wrong "status is not answered while nobody reads the log")

            if unread scheduler.Process <> waiting then
                raise (Wrong "somebody has read the log")
        finally
            gate.Set()

        eventually "the log says that lines are missing" (fun () ->
            isSaidSince position "lines are missing here")

        tally blow 1

    // All names are there from the beginning, so that their number says nothing later.
    List.iter putAs names
    let clock = Stopwatch.StartNew()
    let sinceSample = Stopwatch.StartNew()
    let mutable isFull = false
    take ()

    while clock.Elapsed < time do
        if not isFull then
            for _ in 1 .. random.Next 12 do
                put ()

        Thread.Sleep(random.Next(50, 400))

        if sinceSample.Elapsed >= sampledEvery then
            sinceSample.Restart()
            take ()
            isFull <- waiting address > waitingMax
            freeFromQuarantine ()

        if scheduler.Process.HasExited then
            raise (Wrong $"the scheduler has ended with {scheduler.Process.ExitCode}")

        if random.Next 3 = 0 then
            for other in workers do
                if other.Process.HasExited then
                    tally $"ended by itself or killed: {other.Name}" 1

                other.Ensure()

        match random.Next 24 with
        | 0 ->
            let victim = pick others
            victim.Kill()
            tally "killed workers" 1
        | 1 when canStop ->
            let victim = pick others
            victim.Ensure()
            victim.Stop()
            tally "stopped workers" 1
        | 2 when canStop ->
            clean (at $"tmp/{(pick workers).Name}")
            tally "cleaned temporary folders" 1
        | 3 when canMount.Value ->
            cover (at "entrada") (TimeSpan.FromMilliseconds(float (random.Next(200, 5_000))))
            tally "covered the inputs" 1
        | 4 when canBlock -> block ()
        | 5
        | 6 -> submit ()
        | _ -> ()

    repair (at "broken")

    let settle () =
        for other in workers do
            other.Ensure()

    eventually "every file has its result" (fun () ->
        settle ()
        freeSometimes ()

        files
        |> Seq.forall (fun (KeyValue(name, content)) ->
            isResult (at $"resultados/{name}.out") content))

    take ()

    for line in Gauges.table gauges clock.Elapsed.TotalSeconds do
        printfn $"{line}"

    for victim in workers @ [ scheduler ] do
        victim.End()

    if startGated always [] folder log Build.scheduler [ "check" ] |> codeOf <> 0 then
        raise (Wrong "the journal is damaged")

    match Gauges.growing gauges clock.Elapsed.TotalSeconds with
    | [] -> ()
    | growing -> raise (Wrong("not level: " + String.concat "; " growing))
