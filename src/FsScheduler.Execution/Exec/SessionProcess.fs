namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.IO.Pipes
open Microsoft.Win32.SafeHandles
open FsScheduler.Platform

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
/// <param name="observer">Told of each program.</param>
[<Sealed>]
type internal SessionStarter(observer: IProgramObserver) =

    static let stream direction (fd: int) : Stream =
        new AnonymousPipeClientStream(direction, new SafePipeHandle(nativeint fd, true))

    interface IProgramStarter with
        member _.Start start =
            Children.Prepare()
            // Descriptors of this process that no stream owns yet, and those of the child.
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
                    observer.Started pid
                    let child = Child(pid, observer)
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
                        Linux.close fd

                    reraise ()
            finally
                for fd in theirs do
                    Linux.close fd
