namespace FsScheduler.Platform

open System.Runtime.InteropServices

/// Leases of Linux. A lease for reading is had only while nobody has the file open for writing, or mapped so. Whoever opens
/// the file for writing takes the lease away, and waits until it is given back.
module internal FileLease =
    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int fcntl(int fd, int command, int argument)

    let private F_SETSIG = 10
    let private F_SETLEASE = 1024
    let private F_GETLEASE = 1025
    let private F_RDLCK = 0
    let private F_UNLCK = 2
    /// Nobody handles it, and nothing happens by default; the one that comes otherwise ends the process.
    let private SIGURG = 23

    /// For a descriptor that is open for reading alone: Ok, or an errno. EAGAIN: somebody has it open for writing.
    let tryTake (fd: int) : Result<unit, int> =
        if
            Native.fcntl (fd, F_SETSIG, SIGURG) = 0
            && Native.fcntl (fd, F_SETLEASE, F_RDLCK) = 0
        then
            Ok()
        else
            Error(Marshal.GetLastPInvokeError())

    /// Whether nobody has opened it for writing since it was taken.
    let isHeld (fd: int) =
        Native.fcntl (fd, F_GETLEASE, 0) = F_RDLCK

    let release (fd: int) =
        Native.fcntl (fd, F_SETLEASE, F_UNLCK) |> ignore
