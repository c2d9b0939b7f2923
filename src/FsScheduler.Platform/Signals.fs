namespace FsScheduler.Platform

open System
open System.Runtime.InteropServices
open System.Threading

/// Signal dispositions of this process.
module Signals =

    module private Native =
        [<DllImport("libc")>]
        extern nativeint signal(int number, nativeint handler)

        [<DllImport("libc")>]
        extern int sigprocmask(int how, byte[] signals, nativeint before)

    let private SIGXFSZ = 25 // of Linux and macOS alike
    let private SIGCHLD = 17 // of Linux
    let private SIG_DFL = 0n
    let private SIG_IGN = 1n
    let private SIG_SETMASK = 2 // of Linux

    /// Keeps SIGCHLD from the runtime, where other code waits for children.
    let leaveChildrenAlone () =
        if OperatingSystem.IsLinux() then
            Native.signal (SIGCHLD, SIG_DFL) |> ignore

    /// Called by an executable before anything else. The parent may ignore SIGCHLD, which hides the end of children, or
    /// block signals that ask the process to end. An ignored SIGINT or SIGHUP stays so: a shell wants that of
    /// background jobs, and nohup too.
    let restore () =
        if OperatingSystem.IsLinux() then
            // The handler of the runtime is put back at once; it has waited for no child yet.
            let before = Native.signal (SIGCHLD, SIG_DFL)

            if before <> SIG_IGN && before <> SIG_DFL then
                Native.signal (SIGCHLD, before) |> ignore

            Native.sigprocmask (SIG_SETMASK, Array.zeroCreate 128, 0n) |> ignore

    /// Makes a file that exceeds a limit of the process a failed write, not the end of the process.
    let ignoreFileSize () =
        if OperatingSystem.IsLinux() || OperatingSystem.IsMacOS() then
            Native.signal (SIGXFSZ, SIG_IGN) |> ignore

    let mutable private hasCome = false

    /// Whether Ctrl+C or SIGTERM has asked this process to end; needs an `Interruption`.
    let isAskedToEnd () = Volatile.Read &hasCome

    let internal noteAsked () = Volatile.Write(&hasCome, true)

/// Ctrl+C and SIGTERM: the first signal asks the process to end in order, the second ends it at once.
[<Sealed>]
type Interruption() =
    let source = new CancellationTokenSource()
    let mutable count = 0

    let onSignal (context: PosixSignalContext) =
        if Interlocked.Increment &count = 1 then
            context.Cancel <- true
            Signals.noteAsked ()
            // Continuations run on the thread pool: a signal handler should be short.
            ThreadPool.UnsafeQueueUserWorkItem((fun _ -> source.Cancel()), null) |> ignore

    // Windows emulates both: by Ctrl+C, and by closing the console.
    let handlers = [
        PosixSignalRegistration.Create(PosixSignal.SIGINT, onSignal)
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, onSignal)
    ]

    /// Cancelled at the first signal.
    member _.Token = source.Token

    /// Whether a signal came, rather than `Request`.
    member _.IsSignal = count > 0

    /// Acts as if a signal had come.
    member _.Request() = source.Cancel()

    interface IDisposable with
        member _.Dispose() =
            for handler in handlers do
                handler.Dispose()
