namespace FsScheduler.Platform

open System.Runtime.InteropServices

/// Events of files and folders on Linux.
module internal Inotify =
    [<Literal>]
    let private Utf8 = UnmanagedType.LPUTF8Str

    let private IN_NONBLOCK = 0x800
    let private IN_CLOEXEC = 0x80000

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int inotify_init1(int flags)

        [<DllImport("libc", SetLastError = true)>]
        extern int inotify_add_watch(int fd, [<MarshalAs(Utf8)>] string path, uint mask)

        [<DllImport("libc")>]
        extern int inotify_rm_watch(int fd, int watch)

    let IN_MODIFY = 0x2u
    let IN_ATTRIB = 0x4u
    let IN_CLOSE_WRITE = 0x8u
    let IN_MOVED_FROM = 0x40u
    let IN_MOVED_TO = 0x80u
    let IN_CREATE = 0x100u
    let IN_DELETE = 0x200u
    let IN_DELETE_SELF = 0x400u
    let IN_MOVE_SELF = 0x800u
    let IN_UNMOUNT = 0x2000u
    let IN_Q_OVERFLOW = 0x4000u
    let IN_IGNORED = 0x8000u
    let IN_ONLYDIR = 0x1000000u
    let IN_DONT_FOLLOW = 0x2000000u
    let IN_ISDIR = 0x40000000u

    let init () : Result<int, int> =
        match Native.inotify_init1 (IN_NONBLOCK ||| IN_CLOEXEC) with
        | -1 -> Error(Marshal.GetLastPInvokeError())
        | fd -> Ok fd

    let addWatch (fd: int) (path: string) (mask: uint) : Result<int, int> =
        match Native.inotify_add_watch (fd, path, mask) with
        | -1 -> Error(Marshal.GetLastPInvokeError())
        | watch -> Ok watch

    let removeWatch (fd: int) (watch: int) =
        Native.inotify_rm_watch (fd, watch) |> ignore
