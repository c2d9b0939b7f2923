namespace FsScheduler.Platform

open System
open System.Runtime.InteropServices

/// Descriptors of Linux that another thread can make readable, and the wait for descriptors.
module internal Wakeup =
    [<Struct; StructLayout(LayoutKind.Sequential)>]
    type PollFd = { fd: int; events: int16; happened: int16 }

    let private POLLIN = 1s
    let private EFD_NONBLOCK = 0x800
    let private EFD_CLOEXEC = 0x80000

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int eventfd(uint initial, int flags)

        [<DllImport("libc", SetLastError = true)>]
        extern nativeint write(int fd, uint64& value, nativeint count)

        [<DllImport("libc", SetLastError = true)>]
        extern int poll(PollFd[] fds, unativeint count, int timeoutMs)

    let create () : Result<int, int> =
        match Native.eventfd (0u, EFD_NONBLOCK ||| EFD_CLOEXEC) with
        | -1 -> Error(Marshal.GetLastPInvokeError())
        | fd -> Ok fd

    let signal (fd: int) =
        let mutable one = 1UL
        Native.write (fd, &one, 8n) |> ignore

    /// It cannot be read any more, until the next signal.
    let clear (fd: int) =
        Linux.read fd (Span(Array.zeroCreate<byte> 8)) |> ignore

    /// Waits until one of some descriptors can be read, so many milliseconds have passed (-1: for ever), or a signal
    /// interrupts.
    let waitForAny (fds: int[]) (timeoutMs: int) : unit =
        let readable fd = { fd = fd; events = POLLIN; happened = 0s }
        Native.poll (Array.map readable fds, unativeint fds.Length, timeoutMs) |> ignore
