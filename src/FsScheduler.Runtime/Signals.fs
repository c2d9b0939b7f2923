namespace FsScheduler.Runtime

open System
open System.Runtime.InteropServices
open System.Threading

/// Signals that are nobody's wish.
module Signals =

    module private Native =
        [<DllImport("libc")>]
        extern nativeint signal(int number, nativeint handler)

    let private SIGXFSZ = 25 // of Linux and macOS alike
    let private SIG_IGN = 1n

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
