// Kills (SIGKILL), stops (SIGSTOP) and restarts the scheduler and its workers at random, while files and SUBMITs come in;
// then looks whether every result is there, right, and made once.
//
//     dotnet fsi scripts/chaos.fsx                          ten rounds
//     dotnet fsi scripts/chaos.fsx --rounds 1 --seed 7      the round of seed 7 alone
//
// Some rounds have workers in C# and Python too, those of `examples`.
//
// Each round has a seed of its own, --seed and those that follow. What the processes do between two blows is theirs, so the
// same seed deals the same blows, not the same history. The exit code is 0, or 1 with what was wrong and where it lies.

#load "build.fsx"
#load "processes.fsx"

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Text.Json
open System.Threading
open Processes

// ---- What was asked for

let refuse (message: string) : 'never =
    eprintfn $"{message}\nusage: dotnet fsi scripts/chaos.fsx [--rounds N] [--seed N]"
    exit 2

let number (option: string) (text: string) =
    match Int32.TryParse text with
    | true, value when value >= 1 -> value
    | _ -> refuse $"{option} takes a number from 1 on, not '{text}'"

let rec parse (rounds, seed) arguments =
    match arguments with
    | [] -> rounds, seed
    | "--rounds" :: value :: rest -> parse (number "--rounds" value, seed) rest
    | "--seed" :: value :: rest -> parse (rounds, number "--seed" value) rest
    | other :: _ -> refuse $"what is '{other}'?"

let rounds, firstSeed =
    fsi.CommandLineArgs |> Array.toList |> List.tail |> parse (10, 1)

Build.buildWhatIsMissing ()

/// Workers in other languages, by what they are called.
let foreign =
    lazy
        [
            "csharp", Build.csharpWorker ()
            for command in Option.toList (Build.pythonWorker ()) do
                "python", command
        ]

// ---- A round

let text (name: string) version =
    String.replicate (1 + version) $"  FICHEIRO {name}, VERSÃO {version}: AÇÃO!\n"

let expected (content: string) =
    content.Split '\n'
    |> Array.map (fun line -> line.Trim().ToLowerInvariant())
    |> String.concat "\n"

let count = Dictionary<string, int>()

let tally what more =
    count[what] <- count.GetValueOrDefault(what, 0) + more

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

    let run program arguments () = start folder log program arguments

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

            Victim(name, run Build.worker arguments)
    ]

    let workers =
        if isSpecialised && random.Next 2 = 0 then
            workers
            @ [
                for name, command in foreign.Value ->
                    Victim(name, run command.Head (command.Tail @ [ address ]))
            ]
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

        Directory.CreateDirectory(nonNull (Path.GetDirectoryName(at $"entrada/{name}")))
        |> ignore

        File.WriteAllText(at "entrada/next.tmp", content)
        File.Move(at "entrada/next.tmp", at $"entrada/{name}", true)

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
            scheduler.Ensure() // a command that finds no scheduler at first gives up at once
            submit ()

        Thread.Sleep(random.Next(10, 150))
        let victim = pick (scheduler :: scheduler :: workers)

        for other in scheduler :: workers do
            if random.Next 4 > 0 then
                other.Ensure()

        match random.Next 8 with
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
            victim.Ensure()
            signal (if canStop then "TERM" else "KILL") victim.Process
            tally $"ended {kindOf victim}" 1
        | _ -> ()

    // Quiet: everything comes to its end.
    let mutable retried = 0

    let settle () =
        for victim in scheduler :: workers do
            victim.Ensure()

    let isResult (target: string) (content: string) =
        try
            File.Exists target && File.ReadAllText target = expected content
        with :? IOException ->
            false

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

    /// What a verb answers: an object a line.
    let answerTo (arguments: string list) : JsonElement list =
        let info =
            ProcessStartInfo(
                Build.scheduler,
                arguments @ [ "--connect"; address ],
                RedirectStandardOutput = true
            )

        use asked = nonNull (Process.Start info)
        let lines = asked.StandardOutput.ReadToEndAsync()

        if not (lines.Wait patience) then
            asked.Kill()
            raise (Wrong $"%A{arguments} is not answered")

        [
            for line in lines.Result.Split('\n', StringSplitOptions.RemoveEmptyEntries) do
                use answer = JsonDocument.Parse line
                answer.RootElement.Clone()
        ]

    eventually "nothing is left to do" (fun () ->
        let status = List.exactlyOne (answerTo [ "status"; "--json" ])

        [ "queued"; "running"; "waiting"; "publishing"; "split" ]
        |> List.forall (fun state ->
            match status.TryGetProperty state with
            | true, count -> count.GetInt64() = 0L
            | false, _ -> true))

    // The history: no attempt twice, no end twice, no version of a file twice.
    let history = answerTo [ "events" ]

    let field (name: string) (event: JsonElement) =
        match event.TryGetProperty name with
        | true, value -> value.ToString()
        | _ -> ""

    let only kinds =
        history |> List.filter (fun event -> List.contains (field "event" event) kinds)

    let expectOnce what (keys: string list) =
        match keys |> List.countBy id |> List.tryFind (fun (_, count) -> count > 1) with
        | Some(key, count) -> raise (Wrong $"{what} {key}: {count} times")
        | None -> ()

    let assigned = only [ "assigned" ]
    let ends = only [ "completed"; "cancelled" ]

    expectOnce "attempt" [
        for event in assigned -> field "task" event + "#" + field "attempt" event
    ]

    expectOnce "end of task" (List.map (field "task") ends)

    let tasks = only [ "submitted" ]
    let completed = set (List.map (field "task") (only [ "completed" ]))

    for name, done' in
        tasks
        |> List.filter (fun event ->
            field "whole" event = "" && completed.Contains(field "task" event))
        |> List.countBy (field "name") do
        match versions.TryGetValue name with
        | true, count when done' > count ->
            raise (Wrong $"{count} versions of {name} are done {done'} times")
        | _ -> ()

    if tasks.Length <> ends.Length then
        raise (Wrong $"{tasks.Length} tasks and {ends.Length} ends")

    for event in only [ "requeued"; "delayed"; "quarantined" ] do
        let words = (field "error" event).Split(':')
        tally $"""{field "event" event}: {words[words.Length - 1].Trim()}""" 1

    tally "tasks" ends.Length
    tally "pieces" (List.length (only [ "part" ]))
    tally "claimed over a restart" (List.length (only [ "claimed" ]))
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

for seed in firstSeed .. firstSeed + rounds - 1 do
    let folder = Directory.CreateTempSubdirectory($"chaos-{seed}-").FullName

    try
        try
            round seed folder
        finally
            endAll ()

        Directory.Delete(folder, true)
        printfn $"round {seed}: all is there and right"
    with error ->
        failed <- failed + 1

        let why =
            match error with
            | Wrong why -> why
            | other -> string other

        printfn $"round {seed}: WRONG: {why}; see {folder}"

for KeyValue(what, times) in count do
    printfn $"%8d{times}  {what}"

printfn $"{rounds} rounds in {clock.Elapsed.TotalSeconds:F0} s: {failed} failed"
exit (if failed = 0 then 0 else 1)
