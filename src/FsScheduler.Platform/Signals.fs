namespace FsScheduler.Platform

open System
open System.Runtime.InteropServices
open System.Threading

/// Signals that are nobody's wish.
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

    /// The runtime hears nothing of children any more: somebody else waits for them.
    let leaveChildrenAlone () =
        if OperatingSystem.IsLinux() then
            Native.signal (SIGCHLD, SIG_DFL) |> ignore

    /// To be called by an executable before anything else. Whoever started it may ignore SIGCHLD, and the end of a child
    /// would not be told then; or block signals that ask it to end. That SIGINT and SIGHUP are ignored is a wish: of a
    /// shell for what runs in the background, and of nohup.
    let restore () =
        if OperatingSystem.IsLinux() then
            // No longer than what the runtime has done up to now: it has not looked at children yet.
            let before = Native.signal (SIGCHLD, SIG_DFL)

            if before <> SIG_IGN && before <> SIG_DFL then
                Native.signal (SIGCHLD, before) |> ignore

            Native.sigprocmask (SIG_SETMASK, Array.zeroCreate 128, 0n) |> ignore

    /// A file that outgrows a limit of the process is a write that fails, and not the end of the process.
    let ignoreFileSize () =
        if OperatingSystem.IsLinux() || OperatingSystem.IsMacOS() then
            Native.signal (SIGXFSZ, SIG_IGN) |> ignore

    let mutable private hasCome = false

    /// Whether Ctrl+C or SIGTERM has asked this process to end, where it has an `Interruption`.
    let isAskedToEnd () = Volatile.Read &hasCome

    let internal noteAsked () = Volatile.Write(&hasCome, true)

/// Ctrl+C and SIGTERM: the first asks to end in order, the second ends at once.
[<Sealed>]
type Interruption() =
    let source = new CancellationTokenSource()
    let mutable count = 0

    let onSignal (context: PosixSignalContext) =
        if Interlocked.Increment &count = 1 then
            context.Cancel <- true
            Signals.noteAsked ()
            // Whoever waits for it runs elsewhere: a handler of a signal should be short.
            ThreadPool.UnsafeQueueUserWorkItem((fun _ -> source.Cancel()), null) |> ignore

    // Windows has both by emulation: Ctrl+C, and the console's closing.
    let handlers = [
        PosixSignalRegistration.Create(PosixSignal.SIGINT, onSignal)
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, onSignal)
    ]

    /// Cancelled at the first signal.
    member _.Token = source.Token

    /// Whether it was a signal.
    member _.IsSignal = count > 0

    /// Acts as if a signal had come.
    member _.Request() = source.Cancel()

    interface IDisposable with
        member _.Dispose() =
            for handler in handlers do
                handler.Dispose()
