/// The executables as people run them: real processes on folders of their own, and how to wait for what they do.
module FsScheduler.System.Tests.Farm

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Tasks
open Expecto

/// No test waits longer for anything. Far more than is needed: it is for what will never come.
let patience = TimeSpan.FromSeconds 90.0

/// Fails with a clear message what would wait for ever.
let within (what: string) (work: Task<'T>) =
    task {
        try
            return! work.WaitAsync patience
        with :? TimeoutException ->
            return failtest $"{what}: not within {patience.TotalSeconds} s"
    }

/// For what other processes do on the disk, where nobody sends an event.
let eventuallyWithin (limit: TimeSpan) (what: string) (holds: unit -> bool) =
    task {
        let started = Stopwatch.StartNew()

        while not (holds ()) do
            if started.Elapsed > limit then
                failtest $"{what}: not within {limit.TotalSeconds} s"

            do! Task.Delay 5
    }

let eventually what holds = eventuallyWithin patience what holds

/// No test takes longer: one that hangs is ended, and named.
let private limit = TimeSpan.FromMinutes 12.0

/// A test in `task`, which may `use` what is disposed at once as well as what takes its time.
/// One that takes long says so, for whoever looks at a run that does not come to its end.
let scenario (name: string) (body: unit -> Task<unit>) =
    testTask name {
        let clock = Stopwatch.StartNew()
        let minute = TimeSpan.FromMinutes 1.0

        use _ =
            new Timer(
                (fun _ -> eprintfn $"after {clock.Elapsed.TotalSeconds:F0} s still at it: {name}"),
                null,
                minute,
                minute
            )

        do! Task.Run<unit>(body).WaitAsync limit
    }

/// A folder for one test, with an `entrada/` to fill.
type Workplace() =
    let path = Directory.CreateTempSubdirectory("fss-system-").FullName
    do Directory.CreateDirectory(Path.Combine(path, "entrada")) |> ignore

    member _.Path = path
    member _.At(relative: string) = Path.Combine(path, relative)

    /// Makes a file of `entrada/` last changed two hours ago: old enough for every settling time here.
    member place.Put(name: string, bytes: byte[]) =
        let file = place.At $"entrada/{name}"
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName file)) |> ignore
        File.WriteAllBytes(file, bytes)
        File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddHours -2.0)

    member place.Put(name: string, text: string) =
        place.Put(name, Text.Encoding.UTF8.GetBytes text)

    /// A whole file that comes by rename, over an older one if there is one.
    member place.Rename(name: string, text: string) =
        let elsewhere = place.At $"{Guid.NewGuid():N}"
        File.WriteAllText(elsewhere, text)
        File.Move(elsewhere, place.At $"entrada/{name}", true)

    member place.HasResult(name: string) =
        File.Exists(place.At $"resultados/{name}")

    member place.Result(name: string) =
        File.ReadAllText(place.At $"resultados/{name}")

    /// Every file below `resultados/`, by its path from there, sorted; temporary ones too.
    member place.Results =
        let root = place.At "resultados"

        if Directory.Exists root then
            Directory.EnumerateFiles(
                root,
                "*",
                EnumerationOptions(
                    RecurseSubdirectories = true,
                    AttributesToSkip = FileAttributes.None
                )
            )
            |> Seq.map (fun file -> Path.GetRelativePath(root, file).Replace('\\', '/'))
            |> Seq.sort
            |> List.ofSeq
        else
            []

    interface IDisposable with
        member _.Dispose() = Directory.Delete(path, true)

[<DllImport("libc", EntryPoint = "kill", SetLastError = true)>]
extern int private sendSignal(int pid, int signal)

type Signal =
    | Interrupt = 2
    | Kill = 9
    | Term = 15
    | Continue = 18
    | Stop = 19

let signal (pid: int) (signal: Signal) =
    if not (OperatingSystem.IsLinux()) then
        skiptest "the numbers of these signals are Linux's"

    if sendSignal (pid, int signal) <> 0 then
        failtest $"kill {pid}: errno {Marshal.GetLastPInvokeError()}"

/// What a process says on one of its outputs, line by line.
type Lines() =
    let lines = List<string>()
    let waiting = List<struct ((string -> bool) * TaskCompletionSource<string>)>()

    member _.All = lock lines (fun () -> List.ofSeq lines)

    member _.Add(line: string) =
        lock lines (fun () ->
            lines.Add line

            for struct (holds, source) in waiting do
                if holds line then
                    source.TrySetResult line |> ignore)

    member _.Count(holds: string -> bool) =
        lock lines (fun () -> lines |> Seq.filter holds |> Seq.length)

    /// The first line that is so, said already or to come.
    member _.First(holds: string -> bool) : Task<string> =
        let source =
            TaskCompletionSource<string> TaskCreationOptions.RunContinuationsAsynchronously

        lock lines (fun () ->
            match Seq.tryFind holds lines with
            | Some line -> source.SetResult line
            | None -> waiting.Add(struct (holds, source)))

        source.Task

/// Whether a process was started with SIGINT ignored. False where the system does not tell.
let private ignoresInterrupts (id: int) =
    let status = $"/proc/{id}/status"

    File.Exists status
    && File.ReadLines status
       |> Seq.exists (fun line ->
           line.StartsWith "SigIgn:"
           && Convert.ToUInt64(line.Substring(7).Trim(), 16) &&& 2UL <> 0UL)

/// A running process; whatever becomes of the test, it does not outlive it.
type Program(path: string, args: string list, folder: string) =
    let output = Lines()
    let errors = Lines()

    let child =
        let start =
            ProcessStartInfo(
                path,
                args,
                WorkingDirectory = folder,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true
            )

        nonNull (Process.Start start)

    let read (from: StreamReader) (lines: Lines) =
        task {
            let mutable line = from.ReadLine()

            while not (isNull line) do
                lines.Add(nonNull line)
                let! next = from.ReadLineAsync()
                line <- next
        }

    let ended =
        let outputs = Task.Run<unit>(fun () -> read child.StandardOutput output)
        let others = Task.Run<unit>(fun () -> read child.StandardError errors)

        task {
            do! child.WaitForExitAsync()
            let! _ = Task.WhenAll(outputs, others)
            return child.ExitCode
        }

    member _.Id = child.Id
    member _.Output = output
    member _.Errors = errors
    member _.HasExited = child.HasExited

    /// A test whose own starter ignores SIGINT, as a shell does for jobs in the background, is skipped: what it
    /// starts ignores it too, and is right to.
    member _.Signal(number: Signal) =
        if number = Signal.Interrupt && ignoresInterrupts child.Id then
            skiptest "SIGINT is ignored by whoever started the tests"

        signal child.Id number

    /// All that it has said, for the message of a failure.
    member _.Said =
        String.concat "\n" [
            $"{Path.GetFileName path}, said:"
            yield! output.All
            yield! errors.All
        ]

    /// The bytes of its memory that are in use: the resident set.
    member _.Memory =
        child.Refresh()
        child.WorkingSet64

    /// Its exit code, once it and all that write to its outputs have ended.
    member program.Exit: Task<int> = program.ExitWithin patience

    member program.ExitWithin(limit: TimeSpan) : Task<int> =
        task {
            try
                return! ended.WaitAsync limit
            with :? TimeoutException ->
                return failtest $"it has not ended. {program.Said}"
        }

    /// What it reads, to the end.
    member _.Feed(input: byte[]) =
        child.StandardInput.BaseStream.Write(input, 0, input.Length)
        child.StandardInput.Close()

    /// A line of the log that has this text, said already or to come.
    member program.Says(text: string) : Task<string> =
        task {
            let line = errors.First(fun line -> line.Contains text)
            let! first = Task.WhenAny(line :> Task, ended, Task.Delay patience)

            return
                if line.IsCompleted then
                    line.Result
                elif obj.ReferenceEquals(first, ended) then
                    failtest $"it has ended without saying '{text}'. {program.Said}"
                else
                    failtest $"it does not say '{text}'. {program.Said}"
        }

    interface IDisposable with
        member _.Dispose() =
            // SIGKILL reaches stopped processes too.
            child.Kill(entireProcessTree = true)
            child.WaitForExit(10_000) |> ignore
            child.Dispose()

/// As `eventuallyWithin`; the failure has all that this program has said.
let eventuallyOf (program: Program) (limit: TimeSpan) (what: string) (holds: unit -> bool) =
    task {
        try
            do! eventuallyWithin limit what holds
        with :? AssertException as failure ->
            failtest $"{failure.Message}. {program.Said}"
    }

let private executable (project: string) (name: string) =
    let suffix = if OperatingSystem.IsWindows() then ".exe" else ""
    Path.Combine(RepositoryTests.root, "src", project, "bin", "Release", "net10.0", name + suffix)

let schedulerPath = executable "FsScheduler.Scheduler" "fs-scheduler"
let workerPath = executable "FsScheduler.Worker" "fs-worker"

/// `fs-scheduler` with these arguments, as they are.
let fsScheduler (folder: string) (args: string list) =
    new Program(schedulerPath, args, folder)

/// `fs-worker` with these arguments, as they are.
let fsWorker (folder: string) (args: string list) = new Program(workerPath, args, folder)

/// A scheduler of a workplace on a free port, once it listens, and that port.
let startScheduler (place: Workplace) (args: string list) =
    task {
        let listen =
            if List.contains "--listen" args then
                []
            else
                [ "--listen"; "127.0.0.1:0" ]

        let scheduler = fsScheduler place.Path (listen @ args)
        let first = scheduler.Output.First(fun _ -> true)
        let! _ = Task.WhenAny(first :> Task, scheduler.Exit)

        if not first.IsCompleted then
            failtest $"it does not listen. {scheduler.Said}"

        Expect.stringStarts first.Result "listening on " "the first line"
        let port = int (first.Result.Substring(first.Result.LastIndexOf ':' + 1))
        return struct (scheduler, port)
    }

let startWorker (place: Workplace) (port: int) (args: string list) =
    fsWorker place.Path ([ "--connect"; $"127.0.0.1:{port}" ] @ args)

/// Processes that this one has started and that still run.
let childrenOf (pid: int) =
    if not (OperatingSystem.IsLinux()) then
        skiptest "it looks for processes in /proc"

    [
        for folder in Directory.EnumerateDirectories "/proc" do
            match Int32.TryParse(Path.GetFileName folder) with
            | true, child ->
                let status =
                    try
                        File.ReadAllText $"{folder}/stat"
                    with :? IOException ->
                        "" // it has just ended

                // The name before it, in parentheses, may be anything.
                let fields = status.Substring(status.LastIndexOf ')' + 1).Split ' '

                if fields.Length > 2 && fields[2] = string pid && fields[1] <> "Z" then
                    child
            | _ -> ()
    ]

/// Whether a process is there and no zombie.
let isAlive (pid: int) =
    try
        let status = File.ReadAllText $"/proc/{pid}/stat"
        status.Substring(status.LastIndexOf ')' + 2)[0] <> 'Z'
    with :? IOException ->
        false
