/// Processes that a test starts, signals and reads.
[<AutoOpen>]
module FsScheduler.TestKit.Processes

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices
open System.Threading.Tasks
open Expecto

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
    member program.Exit: Task<int> = program.ExitWithin processPatience

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
            let! first = Task.WhenAny(line :> Task, ended, Task.Delay processPatience)

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
