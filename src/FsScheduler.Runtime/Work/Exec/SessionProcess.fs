namespace FsScheduler.Runtime.Exec

open System
open System.Collections.Concurrent
open System.IO
open System.IO.Pipes
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Tasks
open Microsoft.Win32.SafeHandles

/// Hears of programs that come and go, so that they can be killed when this process is.
type internal IProgramWitness =
    abstract Started: group: int -> unit
    /// Said before anybody else can have its number.
    abstract Ended: group: int -> unit

/// A child of ours, from its start until its number is free again.
[<Sealed>]
type private Child(pid: int, witness: IProgramWitness) =
    let completion =
        TaskCompletionSource<ProgramEnd>(TaskCreationOptions.RunContinuationsAsynchronously)

    let gate = obj ()
    let mutable isEnded = false
    let mutable isReleased = false
    let mutable isReaped = false

    let reap () =
        if isEnded && isReleased && not isReaped then
            isReaped <- true
            witness.Ended pid
            Posix.reap pid

    member _.Completion = completion.Task

    /// Looks whether it has ended, and says whether it is done with altogether.
    member _.Look() =
        lock gate (fun () ->
            if not isEnded then
                match Posix.tryEnding pid with
                | ValueSome ending ->
                    isEnded <- true
                    completion.SetResult ending
                | ValueNone -> ()

            reap ()
            isReaped)

    member _.Kill() =
        lock gate (fun () ->
            // Until it is reaped nobody else has the number.
            if not isReaped then
                Posix.killGroup pid)

    /// Nobody needs it any more.
    member child.Release() =
        lock gate (fun () ->
            if not isReaped then
                Posix.killGroup pid
                isReleased <- true)

        child.Look()

/// Our children, told of their end by SIGCHLD.
[<AbstractClass; Sealed>]
type private Children private () =
    static let all = ConcurrentDictionary<int, Child>()

    static let look () =
        for KeyValue(pid, child) in all do
            if child.Look() then
                all.TryRemove pid |> ignore

    // Kept for the life of the process: a child may end at any time.
    static let registration =
        lazy (PosixSignalRegistration.Create(PosixSignal.SIGCHLD, fun _ -> look ()))

    /// To be called before the first child is started.
    static member Prepare() = registration.Force() |> ignore

    static member Add(pid: int, child: Child) =
        all[pid] <- child
        // It may have ended before it was known here.
        child.Look() |> ignore

    static member Release(pid: int, child: Child) =
        if child.Release() then
            all.TryRemove pid |> ignore

/// A program in a session of its own.
[<Sealed>]
type private SessionProcess(pid: int, child: Child, input: Stream, output: Stream, errors: Stream) =
    inherit ProgramProcess()

    override _.Input = input
    override _.Output = output
    override _.Errors = errors
    override _.Completion = child.Completion
    override _.Kill() = child.Kill()

    override _.Dispose() =
        Children.Release(pid, child)
        input.Dispose()
        output.Dispose()
        errors.Dispose()

/// <summary>Starts programs on Linux, each as the leader of a session and a process group of its own.</summary>
/// <param name="witness">Hears of each.</param>
[<Sealed>]
type internal SessionStarter(witness: IProgramWitness) =

    static let stream direction (fd: int) : Stream =
        new AnonymousPipeClientStream(direction, new SafePipeHandle(nativeint fd, true))

    interface IProgramStarter with
        member _.Start start =
            Children.Prepare()
            // Descriptors that are ours until a stream has them, and those that are the child's.
            let ours = ResizeArray<int>()
            let theirs = ResizeArray<int>()

            let pipe isInput =
                let struct (readEnd, writeEnd) = Posix.pipe ()
                ours.Add(if isInput then writeEnd else readEnd)
                theirs.Add(if isInput then readEnd else writeEnd)
                Posix.Descriptor theirs[theirs.Count - 1]

            try
                try
                    let input =
                        match start.input with
                        | InputPiped -> pipe true
                        | InputFile path -> Posix.Path(path, false)
                        | InputEmpty -> Posix.Path("/dev/null", false)

                    let output =
                        if start.isOutputWanted then
                            pipe false
                        else
                            Posix.Path("/dev/null", true)

                    let pid = Posix.spawn start [| input; output; pipe false |]
                    witness.Started pid
                    let child = Child(pid, witness)
                    Children.Add(pid, child)
                    let next = ref 0

                    let taken isThere direction =
                        if isThere then
                            next.Value <- next.Value + 1
                            stream direction ours[next.Value - 1]
                        else
                            Stream.Null

                    let input = taken start.input.IsInputPiped PipeDirection.Out
                    let output = taken start.isOutputWanted PipeDirection.In
                    let errors = taken true PipeDirection.In
                    new SessionProcess(pid, child, input, output, errors)
                with _ ->
                    for fd in ours do
                        FsScheduler.Runtime.Files.Linux.close fd

                    reraise ()
            finally
                for fd in theirs do
                    FsScheduler.Runtime.Files.Linux.close fd
