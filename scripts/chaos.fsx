// Kills (SIGKILL), stops (SIGSTOP) and restarts the scheduler and its workers at random, while files and SUBMITs come in;
// then looks whether every result is there, right, and made once.
//
//     dotnet fsi scripts/chaos.fsx                          ten rounds
//     dotnet fsi scripts/chaos.fsx --rounds 1 --seed 7      the round of seed 7 alone
//
// Each round has a seed of its own, --seed and those that follow. What the processes do between two blows is theirs, so the
// same seed deals the same blows, not the same history. The exit code is 0, or 1 with what was wrong and where it lies.

#load "build.fsx"

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Text.Json
open System.Threading

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

// ---- Processes

exception Wrong of string

/// Longer than anything takes.
let patience = TimeSpan.FromSeconds 90.0

let eventually (what: string) (holds: unit -> bool) =
    let clock = Stopwatch.StartNew()

    while not (holds ()) do
        if clock.Elapsed > patience then
            raise (Wrong $"{what}: not within {patience.TotalSeconds} s")

        Thread.Sleep 20

/// All of this round.
let started = List<Process>()

let start (folder: string) (log: string) (program: string) (arguments: string list) =
    let info =
        ProcessStartInfo(
            program,
            arguments,
            WorkingDirectory = folder,
            RedirectStandardError = true
        )

    info.RedirectStandardOutput <- true
    let one = nonNull (Process.Start info)
    started.Add one

    let write (line: string | null) =
        if not (isNull line) then
            lock log (fun () ->
                File.AppendAllText(log, $"{DateTime.UtcNow:``HH:mm:ss.fff``} {one.Id} {line}\n"))

    one.ErrorDataReceived.Add(fun line -> write line.Data)
    one.OutputDataReceived.Add(fun line -> write line.Data)
    one.BeginErrorReadLine()
    one.BeginOutputReadLine()
    one

/// Signals by name, because their numbers differ. Only a kill is known everywhere.
let signal (name: string) (target: Process) =
    if name = "KILL" then
        target.Kill()
    elif not target.HasExited then
        use sent = nonNull (Process.Start("kill", [ $"-{name}"; string target.Id ]))
        sent.WaitForExit()

let canStop = not (OperatingSystem.IsWindows())

/// A program that is started again whenever it has ended.
type Victim(name: string, run: unit -> Process) =
    let mutable running = run ()
    let mutable isStopped = false
    member _.Name = name
    member _.Process = running

    member victim.Ensure() =
        if isStopped then
            signal "CONT" running
            isStopped <- false

        if running.HasExited then
            running <- run ()

    member _.Kill() =
        signal "KILL" running
        running.WaitForExit()

    member _.Stop() =
        isStopped <- true
        signal "STOP" running

    member victim.End() =
        victim.Ensure()
        signal "TERM" running

        if not (running.WaitForExit(TimeSpan.FromSeconds 30.0)) then
            raise (Wrong $"{name} does not end")

/// A port that is free now, and will be asked for again and again.
let freePort () =
    use listener = new TcpListener(IPAddress.Loopback, 0)
    listener.Start()
    (listener.LocalEndpoint :?> IPEndPoint).Port

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

    let schedulerArguments = [
        "--listen"
        address
        "--pipeline"
        "lower | trim"
        "--settle"
        "0ms"
        "--beat"
        "200ms"
        "--lost-after"
        "1s"
        "--sync"
        sync
    ]

    let scheduler = Victim("scheduler", run Build.scheduler schedulerArguments)

    let workers = [
        for index in 1..3 ->
            let name = $"worker-{index}"

            let slots = string (random.Next(1, 9))
            let arguments = [ "--connect"; address; "--name"; name; "--slots"; slots ]
            Victim(name, run Build.worker arguments)
    ]

    let verb arguments =
        let asked = start folder log Build.scheduler (arguments @ [ "--connect"; address ])
        asked.WaitForExit()
        asked.ExitCode

    // What comes in: files that change, and commands that submit.
    let files = Dictionary<string, string>()

    let put () =
        let name = $"d{random.Next 4}/f{random.Next 150}.txt"
        let content = text name (random.Next 5 * (if random.Next 4 = 0 then 4_000 else 1))
        files[name] <- content

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
            let again = start folder log Build.scheduler submissions[index]
            again.WaitForExit()

            if again.ExitCode <> 0 then
                raise (Wrong $"submission {index} ends with {again.ExitCode}")

    for KeyValue(name, content) in submitted do
        if not (isResult (at $"to/{name}.out") content) then
            raise (Wrong $"the result of {name} is not right")

    eventually "nothing is left to do" (fun () ->
        let info =
            ProcessStartInfo(
                Build.scheduler,
                [ "status"; "--json"; "--connect"; address ],
                RedirectStandardOutput = true
            )

        use asked = nonNull (Process.Start info)
        use answer = JsonDocument.Parse(asked.StandardOutput.ReadToEnd())

        [ "queued"; "running"; "waiting"; "publishing" ]
        |> List.forall (fun state -> answer.RootElement.GetProperty(state).GetInt64() = 0L))

    // The history: no attempt twice, no end twice, no version of a file twice.
    let history =
        let info =
            ProcessStartInfo(
                Build.scheduler,
                [ "events"; "--connect"; address ],
                RedirectStandardOutput = true
            )

        use asked = nonNull (Process.Start info)

        [
            let mutable line = asked.StandardOutput.ReadLine()

            while not (isNull line) do
                use event = JsonDocument.Parse(nonNull line)
                event.RootElement.Clone()
                line <- asked.StandardOutput.ReadLine()
        ]

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

    if tasks.Length <> ends.Length then
        raise (Wrong $"{tasks.Length} tasks and {ends.Length} ends")

    for event in only [ "requeued"; "delayed"; "quarantined" ] do
        let words = (field "error" event).Split(':')
        tally $"""{field "event" event}: {words[words.Length - 1].Trim()}""" 1

    tally "tasks" ends.Length
    tally "claimed over a restart" (List.length (only [ "claimed" ]))
    tally "freed from quarantine" retried

    for victim in workers @ [ scheduler ] do
        victim.End()

    let check = start folder log Build.scheduler [ "check" ]
    check.WaitForExit()

    if check.ExitCode <> 0 then
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
            for one in started do
                if not one.HasExited then
                    one.Kill()
                    one.WaitForExit()

                one.Dispose()

            started.Clear()

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
