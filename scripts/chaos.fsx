// Kills (SIGKILL), stops (SIGSTOP) and restarts the scheduler and its workers at random, cleans the temporary folders of
// workers that live, lays another file system over the inputs (root only), reads nothing of a full log (Linux only), and has a
// worker that fails every task at once, while files and SUBMITs come in; then looks whether every result is there, right, and
// made once.
//
//     dotnet fsi scripts/chaos.fsx                          ten rounds
//     dotnet fsi scripts/chaos.fsx --rounds 1 --seed 7      the round of seed 7 alone
//     dotnet fsi scripts/chaos.fsx --soak --minutes 30      one scheduler and its workers for half an hour
//
// The soak does not kill the scheduler and one of its workers, and looks whether what they and their folders take is level at
// its end: --csv FILE gets the samples. Some rounds have workers in C# and Python too, those of `examples`.
//
// Each round has a seed of its own, --seed and those that follow. What the processes do between two blows is theirs, so the
// same seed deals the same blows, not the same history. The exit code is 0, or 1 with what was wrong and where it lies.

#load "build.fsx"
#load "processes.fsx"
#load "blows.fsx"
#load "answers.fsx"
#load "gauges.fsx"
#load "soak.fsx"

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Threading
open Processes
open Blows
open Answers

// ---- What was asked for

let refuse (message: string) : 'never =
    eprintfn
        $"{message}\nusage: dotnet fsi scripts/chaos.fsx [--rounds N] [--seed N] [--soak [--minutes N] [--csv FILE]]"

    exit 2

let number (option: string) (text: string) =
    match Int32.TryParse text with
    | true, value when value >= 1 -> value
    | _ -> refuse $"{option} takes a number from 1 on, not '{text}'"

type Asked = { rounds: int; seed: int; isSoak: bool; minutes: int; csv: string }

let rec parse asked arguments =
    match arguments with
    | [] -> asked
    | "--rounds" :: value :: rest -> parse { asked with rounds = number "--rounds" value } rest
    | "--seed" :: value :: rest -> parse { asked with seed = number "--seed" value } rest
    | "--soak" :: rest -> parse { asked with isSoak = true } rest
    | "--minutes" :: value :: rest -> parse { asked with minutes = number "--minutes" value } rest
    | "--csv" :: value :: rest -> parse { asked with csv = Path.GetFullPath value } rest
    | other :: _ -> refuse $"what is '{other}'?"

let asked =
    fsi.CommandLineArgs
    |> Array.toList
    |> List.tail
    |> parse {
        rounds = 10
        seed = 1
        isSoak = false
        minutes = 30
        csv = Path.Combine(Path.GetTempPath(), $"chaos-soak-{Environment.ProcessId}.csv")
    }

Build.buildWhatIsMissing ()

/// Workers in other languages, by what they are called.
let foreign =
    lazy
        [
            "csharp", Build.csharpWorker ()
            for command in Option.toList (Build.pythonWorker ()) do
                "python", command
        ]

if not canBlock then
    printfn "skipped: nobody stops reading the log, since only Linux says when its pipe is full"

if not canMount.Value then
    printfn "skipped: no file system is laid over the inputs, which takes root and Linux"

// ---- A round

let round (seed: int) (folder: string) =
    let random = Random seed
    let at (path: string) = Path.Combine(folder, path)
    let log = at "log.txt"
    let port = freePort ()
    let address = $"127.0.0.1:{port}"
    let pick (choices: 'T list) = choices[random.Next choices.Length]

    for name in [ "entrada"; "from"; "to" ] do
        Directory.CreateDirectory(at name) |> ignore

    let sync = pick [ "normal"; "normal"; "full"; "off" ]

    let gate = new ManualResetEventSlim(true)

    let run program arguments () =
        startGated gate [] folder log program arguments

    let temporaryOf name =
        let path = at $"tmp/{name}"
        Directory.CreateDirectory path |> ignore
        path

    let runWith environment name program arguments () =
        let environment = ("TMPDIR", temporaryOf name) :: environment
        startGated (new ManualResetEventSlim(true)) environment folder log program arguments

    let isShared = random.Next 2 = 0

    // Two stages that every worker has; or four, of which no worker has all, and one is a program.
    let isSpecialised = canStop && random.Next 2 = 0

    let schedulerArguments = [
        "--listen"
        address
        "--pipeline"
        (if isSpecialised then
             "lower | exec:cat | trim | squeeze"
         else
             "lower | trim")
        "--expect"
        "exec:cat"
        "--split"
        "256KiB"
        "--spool-bytes"
        pick [ "1KiB"; "100KiB"; "16GiB" ]
        "--settle"
        "0ms"
        "--beat"
        "200ms"
        "--lost-after"
        "1s"
        "--sync"
        sync
        if isShared then
            "--shared-files"
    ]

    let scheduler = Victim("scheduler", run Build.scheduler schedulerArguments)

    let workers = [
        for index in 1..3 ->
            let name = $"worker-{index}"

            let slots = string (random.Next(1, 9))

            let special =
                match index with
                | _ when not isSpecialised -> []
                | 1 -> [ "--stages"; "lower,squeeze" ]
                | 2 -> [ "--stages"; "trim"; "--allow-exec"; "cat" ]
                | _ -> [ "--stages"; "lower,trim"; "--allow-exec"; "cat" ]

            // One that sees nothing of what the scheduler does is sent bytes.
            let shared =
                if random.Next 2 = 0 then
                    [ "--shared-files"; pick [ folder; folder; at "to" ] ]
                else
                    []

            let arguments =
                [ "--connect"; address; "--name"; name; "--slots"; slots ] @ special @ shared

            Victim(name, runWith [] name Build.worker arguments)
    ]

    let workers =
        if isSpecialised && random.Next 2 = 0 then
            workers
            @ [
                for name, command in foreign.Value ->
                    Victim(name, runWith [] name command.Head (command.Tail @ [ address ]))
            ]
        else
            workers

    // One whose program fails at once: it is always idle.
    let workers =
        if isSpecialised && random.Next 2 = 0 then
            let arguments = [ "--connect"; address; "--name"; "broken"; "--allow-exec"; "cat" ]
            let path = broken (at "broken")

            workers
            @ [ Victim("broken", runWith [ ("PATH", path) ] "broken" Build.worker arguments) ]
        else
            workers

    let verb arguments =
        start folder log Build.scheduler (arguments @ [ "--connect"; address ])
        |> codeOf

    // What comes in: files that change, and commands that submit.
    let files = Dictionary<string, string>()
    let versions = Dictionary<string, int>()

    let put () =
        let name = $"d{random.Next 4}/f{random.Next 150}.txt"
        let content = text name (random.Next 5 * (if random.Next 4 = 0 then 4_000 else 1))
        files[name] <- content
        versions[name] <- versions.GetValueOrDefault(name, 0) + 1

        putInput (at "entrada") name content

    let submissions = List<string list>()
    let submitted = Dictionary<string, string>()
    let submitting = List<Process>()

    let submit () =
        let number = submissions.Count

        let names = [
            for index in 1..12 ->
                let name = $"s{number}-{index}"
                let content = text name (random.Next 3 * (if index = 1 then 1_500 else 1))
                File.WriteAllText(at $"from/{name}", content)
                submitted[name] <- content
                $"from/{name}"
        ]

        let arguments =
            [ "submit" ]
            @ names
            @ [ "--out"; "to"; "--key"; $"key-{number}"; "--connect"; address ]

        submissions.Add arguments
        submitting.Add(start folder log Build.scheduler arguments)

    eventually "the scheduler listens" (fun () -> verb [ "status" ] = 0)

    let kindOf (victim: Victim) = victim.Name.Split('-')[0]

    // The blows.
    let until = Stopwatch.StartNew()

    while until.Elapsed < TimeSpan.FromSeconds 3.0 do
        for _ in 1 .. random.Next 40 do
            put ()

        if random.Next 6 = 0 && submissions.Count < 3 then
            gate.Set()
            scheduler.EnsureAnew() // a command that finds no scheduler at first gives up at once
            submit ()

        Thread.Sleep(random.Next(10, 150))
        let victim = pick (scheduler :: scheduler :: workers)

        for other in scheduler :: workers do
            if random.Next 4 > 0 then
                other.Ensure()

        match random.Next 12 with
        | 0
        | 1
        | 2 ->
            victim.Kill()
            tally $"killed {kindOf victim}" 1
        | 3
        | 4 when canStop ->
            victim.Ensure()
            victim.Stop()
            tally $"stopped {kindOf victim}" 1
        | 5 ->
            victim.Terminate()
            tally $"ended {kindOf victim}" 1
        | 6 when canStop ->
            clean (at $"tmp/{(pick workers).Name}")
            tally "cleaned temporary folders" 1
        | 7 when canMount.Value ->
            cover (at "entrada") (TimeSpan.FromMilliseconds(float (random.Next(100, 1_000))))
            tally "covered the inputs" 1
        | 8 when canBlock ->
            gate.Set() // one that is to end may say so
            scheduler.EnsureAnew()
            eventually "the scheduler listens" (fun () -> verb [ "status" ] = 0)
            fillLog address gate scheduler.Process |> ignore

            if verb [ "status" ] <> 0 then
                raise (Wrong "status is not answered while nobody reads the log")

            tally "stopped reading the log" 1
        | 9 -> gate.Set()
        | _ -> ()

    // Quiet: everything comes to its end.
    gate.Set()
    repair (at "broken")
    let mutable retried = 0

    let settle () =
        for victim in scheduler :: workers do
            victim.Ensure()

    let freeFromQuarantine () =
        // A task that was lost with three workers is taken for poison.
        if verb [ "retry"; "--all" ] = 0 then
            retried <- retried + 1

    let clock = Stopwatch.StartNew()

    eventually "every file has its result" (fun () ->
        settle ()

        let isDone =
            files
            |> Seq.forall (fun (KeyValue(name, content)) ->
                isResult (at $"resultados/{name}.out") content)

        if not isDone && clock.Elapsed > TimeSpan.FromSeconds 2.0 then
            freeFromQuarantine ()
            clock.Restart()

        isDone)

    for index in 0 .. submissions.Count - 1 do
        eventually $"submission {index} ends" (fun () -> submitting[index].HasExited)

        if submitting[index].ExitCode <> 0 then
            tally "submissions said again" 1
            freeFromQuarantine ()
            let code = start folder log Build.scheduler submissions[index] |> codeOf

            if code <> 0 then
                raise (Wrong $"submission {index} ends with {code}")

    for KeyValue(name, content) in submitted do
        if not (isResult (at $"to/{name}.out") content) then
            raise (Wrong $"the result of {name} is not right")

    eventually "nothing is left to do" (fun () -> waiting address = 0L)
    checkHistory (answerTo address [ "events" ]) versions
    tally "freed from quarantine" retried

    for victim in workers @ [ scheduler ] do
        victim.End()

    if start folder log Build.scheduler [ "check" ] |> codeOf <> 0 then
        raise (Wrong "the journal is damaged")

    let left =
        Directory.EnumerateFiles(
            at "resultados",
            "*",
            EnumerationOptions(RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None)
        )
        |> Seq.filter (fun path -> not (path.EndsWith ".out"))
        |> Seq.toList

    if not left.IsEmpty then
        raise (Wrong $"left in the results: %A{left}")

// ---- All of them

let clock = Stopwatch.StartNew()
let mutable failed = 0

/// Does what it is to do in a folder of its own, which stays where something was wrong.
let inFolder (name: string) (act: string -> unit) =
    let folder =
        Directory.CreateTempSubdirectory($"chaos-{name.Replace(' ', '-')}-").FullName

    try
        try
            act folder
        finally
            endAll ()

        deleteFolder folder 50
        printfn $"{name}: all is there and right"
    with error ->
        failed <- failed + 1

        let why =
            match error with
            | Wrong why -> why
            | other -> string other

        printfn $"{name}: WRONG: {why}; see {folder}"

if asked.isSoak then
    inFolder "soak" (Soak.soak (TimeSpan.FromMinutes(float asked.minutes)) asked.seed asked.csv)
else
    for seed in asked.seed .. asked.seed + asked.rounds - 1 do
        inFolder $"round {seed}" (round seed)

for KeyValue(what, times) in count do
    printfn $"%8d{times}  {what}"

if asked.isSoak then
    printfn $"{asked.minutes} minutes of soak: {failed} failed; samples in {asked.csv}"
else
    printfn $"{asked.rounds} rounds in {clock.Elapsed.TotalSeconds:F0} s: {failed} failed"

exit (if failed = 0 then 0 else 1)
