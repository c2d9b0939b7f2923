// For scripts that deal with processes: how they are started, signalled and waited for.

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.IO.Pipes
open System.Net
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Threading

/// Something is not as it has to be.
exception Wrong of string

/// Longer than anything takes.
let patience = TimeSpan.FromSeconds 90.0

let eventually (what: string) (holds: unit -> bool) =
    let clock = Stopwatch.StartNew()

    while not (holds ()) do
        if clock.Elapsed > patience then
            raise (Wrong $"{what}: not within {patience.TotalSeconds} s")

        Thread.Sleep 20

/// All that were started, until `endAll`.
let started = List<Process>()

// Pipes

module private Libc =
    let setPipeSize = 1031
    let bytesUnread = 0x541Bun

    [<DllImport("libc", EntryPoint = "fcntl")>]
    extern int fcntl(int file, int command, int argument)

    [<DllImport("libc", EntryPoint = "ioctl")>]
    extern int ioctl(int file, unativeint request, int& result)

/// Linux alone says how large a pipe is, and how much is in it.
let canBlock = OperatingSystem.IsLinux()

/// The least that there is: a few lines fill it.
let private pipeSize = 4_096

let private errorsOf (one: Process) =
    int ((one.StandardError.BaseStream :?> PipeStream).SafePipeHandle.DangerousGetHandle())

/// How many bytes of standard error wait in the pipe.
let unread (one: Process) =
    let mutable bytes = 0

    if Libc.ioctl (errorsOf one, Libc.bytesUnread, &bytes) <> 0 then
        raise (Wrong $"nobody knows how much the pipe of {one.Id} holds")

    bytes

/// <summary>Starts a program whose output is read only while a gate is open: a closed one is a terminal that was stopped.
/// </summary>
/// <param name="gate">Closed: nobody reads what it says.</param>
/// <param name="environment">Variables that it has beside those of this process.</param>
/// <param name="folder">Where it works.</param>
/// <param name="log">Gets what it says.</param>
/// <param name="program">Its path.</param>
/// <param name="arguments">Its arguments.</param>
let startGated
    (gate: ManualResetEventSlim)
    (environment: (string * string) list)
    (folder: string)
    (log: string)
    (program: string)
    (arguments: string list)
    =
    let info =
        ProcessStartInfo(
            program,
            arguments,
            WorkingDirectory = folder,
            RedirectStandardError = true,
            RedirectStandardOutput = true
        )

    for name, value in environment do
        info.Environment[name] <- value

    let one =
        try
            nonNull (Process.Start info)
        with :? ComponentModel.Win32Exception as error ->
            eprintfn $"'{program}' cannot be started: {error.Message}; build it, with dotnet build"
            exit 3

    started.Add one
    let id = one.Id

    if canBlock then
        Libc.fcntl (errorsOf one, Libc.setPipeSize, pipeSize) |> ignore

    let write (line: string) =
        lock log (fun () ->
            File.AppendAllText(log, $"{DateTime.UtcNow:``HH:mm:ss.fff``} {id} {line}\n"))

    let read (reader: StreamReader) =
        let run () =
            try
                let mutable line = reader.ReadLine()

                while not (isNull line) do
                    write (nonNull line)
                    gate.Wait()
                    line <- reader.ReadLine()
            with
            | :? ObjectDisposedException
            | :? IOException -> ()

        Thread(run, IsBackground = true).Start()

    read one.StandardError
    read one.StandardOutput
    one

let start = startGated (new ManualResetEventSlim(true)) []

/// Waits for its end, and gives its exit code.
let codeOf (one: Process) =
    if not (one.WaitForExit patience) then
        raise (Wrong $"{one.StartInfo.FileName} does not end within {patience.TotalSeconds} s")

    one.ExitCode

/// Signals by name, because their numbers differ. Only a kill is known everywhere.
let signal (name: string) (target: Process) =
    if name = "KILL" then
        target.Kill()
    elif not target.HasExited then
        use sent = nonNull (Process.Start("kill", [ $"-{name}"; string target.Id ]))
        codeOf sent |> ignore

let canStop = not (OperatingSystem.IsWindows())

/// A program that is started again whenever it has ended.
type Victim(name: string, run: unit -> Process) =
    let mutable running = run ()
    let mutable isStopped = false
    let mutable isEnding = false
    member _.Name = name
    member _.Process = running

    member victim.Ensure() =
        if isStopped then
            signal "CONT" running
            isStopped <- false

        if running.HasExited then
            running <- run ()
            isEnding <- false

    /// Also where it was told to end, and has not ended yet.
    member victim.EnsureAnew() =
        if isEnding then
            codeOf running |> ignore

        victim.Ensure()

    /// Tells it to end, and does not wait.
    member victim.Terminate() =
        victim.Ensure()
        signal (if canStop then "TERM" else "KILL") running
        isEnding <- true

    member _.Kill() =
        signal "KILL" running
        codeOf running |> ignore

    member _.Stop() =
        isStopped <- true
        signal "STOP" running

    member victim.End() =
        victim.Ensure()
        signal "TERM" running
        codeOf running |> ignore

/// A port that is free now, and will be asked for again and again.
let freePort () =
    use listener = new TcpListener(IPAddress.Loopback, 0)
    listener.Start()
    (listener.LocalEndpoint :?> IPEndPoint).Port

/// Whatever still runs is killed.
let endAll () =
    for one in started do
        if not one.HasExited then
            one.Kill()
            codeOf one |> ignore

        one.Dispose()

    started.Clear()

/// Deletes a folder whose log may still be written to by the readers of processes that have ended.
let rec deleteFolder (folder: string) (tries: int) =
    try
        Directory.Delete(folder, true)
    with :? IOException when tries > 1 ->
        Thread.Sleep 100
        deleteFolder folder (tries - 1)
