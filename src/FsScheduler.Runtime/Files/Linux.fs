namespace FsScheduler.Runtime.Files

#nowarn "9" // stackalloc: the buffers of these calls live for one call.

open System
open System.Runtime.CompilerServices
open System.Runtime.InteropServices
open System.Text
open Microsoft.FSharp.NativeInterop

/// Calls of Linux that .NET has no equal for: what kind of thing a path is, opening without
/// waiting, and inotify. Everywhere else `OperatingSystem.IsLinux()` is false and nobody calls them.
/// The flags are those of every Linux that .NET runs on.
module internal Linux =

    [<Literal>]
    let private Utf8 = UnmanagedType.LPUTF8Str

    module Errno =
        let EPERM = 1
        let ENOENT = 2
        let EACCES = 13
        let EEXIST = 17
        let ENOTDIR = 20
        let ENOSPC = 28
        let EFBIG = 27
        let EDQUOT = 122
        let ELOOP = 40

        /// What a file system says that is away for a while, or whose server is: of no file in particular.
        let isAway errno =
            let ENXIO, ENODEV, ENOTCONN, ETIMEDOUT = 6, 19, 107, 110
            let EHOSTDOWN, EHOSTUNREACH, ESTALE = 112, 113, 116

            List.contains errno [
                ENXIO
                ENODEV
                ENOTCONN
                ETIMEDOUT
                EHOSTDOWN
                EHOSTUNREACH
                ESTALE
            ]

    [<Struct; StructLayout(LayoutKind.Sequential)>]
    type PollFd = { fd: int; events: int16; happened: int16 }

    let private POLLIN = 1s

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int ``open``([<MarshalAs(Utf8)>] string path, int flags, int mode)

        [<DllImport("libc")>]
        extern int close(int fd)

        [<DllImport("libc", SetLastError = true)>]
        extern int syncfs(int fd)

        [<DllImport("libc", SetLastError = true)>]
        extern int fallocate(int fd, int mode, int64 offset, int64 length)

        [<DllImport("libc", SetLastError = true)>]
        extern nativeint read(int fd, byte& buffer, nativeint count)

        [<DllImport("libc", SetLastError = true)>]
        extern nativeint readlink([<MarshalAs(Utf8)>] string path, byte& buffer, nativeint count)

        [<DllImport("libc", SetLastError = true)>]
        extern int statx(int fd, [<MarshalAs(Utf8)>] string path, int flags, uint mask, byte& status)

        [<DllImport("libc")>]
        extern uint geteuid()

        [<DllImport("libc", SetLastError = true)>]
        extern int inotify_init1(int flags)

        [<DllImport("libc", SetLastError = true)>]
        extern int inotify_add_watch(int fd, [<MarshalAs(Utf8)>] string path, uint mask)

        [<DllImport("libc")>]
        extern int inotify_rm_watch(int fd, int watch)

        [<DllImport("libc", SetLastError = true)>]
        extern int eventfd(uint initial, int flags)

        [<DllImport("libc", SetLastError = true)>]
        extern nativeint write(int fd, uint64& value, nativeint count)

        [<DllImport("libc", SetLastError = true)>]
        extern int poll(PollFd[] fds, unativeint count, int timeoutMs)

    /// What the last call that failed said, as a text for people.
    let message (errno: int) = Marshal.GetPInvokeErrorMessage errno

    let private lastError () = Marshal.GetLastPInvokeError()

    let close (fd: int) = Native.close fd |> ignore

    let private O_NONBLOCK = 0x800
    let private O_CLOEXEC = 0x80000
    let private O_PATH = 0x200000

    /// Opens for reading, without waiting even if it is a fifo: a descriptor, or an errno.
    let openForReading (path: string) : Result<int, int> =
        match Native.``open`` (path, O_NONBLOCK ||| O_CLOEXEC, 0) with
        | -1 -> Error(lastError ())
        | fd -> Ok fd

    let private O_RDWR = 2
    let private O_CREAT = 0x40
    let private O_EXCL = 0x80
    let private ownFile = 0o600

    /// <summary>Opens a file for a lock: the runtime would lock it on opening, in a way of its own.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isMade">Whether it is made, its owner's alone, if it is missing.</param>
    /// <param name="isNew">Whether it has to be; then no link is followed.</param>
    let openForLock (path: string) (isMade: bool) (isNew: bool) : Result<int, int> =
        let making = (if isMade then O_CREAT else 0) ||| (if isNew then O_EXCL else 0)

        match Native.``open`` (path, O_RDWR ||| O_CLOEXEC ||| making, ownFile) with
        | -1 -> Error(lastError ())
        | fd -> Ok fd

    /// Flushes the whole file system that a path is in: Ok, or an errno.
    let syncFileSystem (path: string) : Result<unit, int> =
        match openForReading path with
        | Error errno -> Error errno
        | Ok fd ->
            try
                if Native.syncfs fd = 0 then Ok() else Error(lastError ())
            finally
                close fd

    /// Takes room on the disk for the first bytes of a file: Ok, or an errno.
    let allocate (fd: int) (length: int64) : Result<unit, int> =
        if Native.fallocate (fd, 0, 0L, length) = 0 then
            Ok()
        else
            Error(lastError ())

    /// Reads what there is, up to the length of `buffer`: bytes read, or an errno.
    let read (fd: int) (buffer: Span<byte>) : Result<int, int> =
        match
            int (Native.read (fd, &MemoryMarshal.GetReference buffer, nativeint buffer.Length))
        with
        | -1 -> Error(lastError ())
        | count -> Ok count

    /// The path of what a descriptor was opened on, without any link in it.
    let pathOf (fd: int) : Result<string, int> =
        let size = 4096
        let buffer = NativePtr.stackalloc<byte> size

        match
            int (Native.readlink ($"/proc/self/fd/{fd}", NativePtr.toByRef buffer, nativeint size))
        with
        | -1 -> Error(lastError ())
        | length -> Ok(Encoding.UTF8.GetString(ReadOnlySpan(NativePtr.toVoidPtr buffer, length)))

    /// The path itself without any link in it. Opens nothing: what the path names is not disturbed.
    let realPath (path: string) : Result<string, int> =
        match Native.``open`` (path, O_PATH ||| O_CLOEXEC, 0) with
        | -1 -> Error(lastError ())
        | fd ->
            try
                pathOf fd
            finally
                close fd

    /// <summary>Works in a folder that is judged by where it really is, and stays that folder meanwhile, whatever its path
    /// leads to by then.</summary>
    /// <param name="folder">Any path to it.</param>
    /// <param name="work">Gets its path without any link in it, and one that leads there for the time of the call.</param>
    /// <returns>What `work` gives, or an errno.</returns>
    let inFolder (folder: string) (work: string -> string -> 'result) : Result<'result, int> =
        match Native.``open`` (folder, O_PATH ||| O_CLOEXEC, 0) with
        | -1 -> Error(lastError ())
        | fd ->
            try
                pathOf fd |> Result.map (fun real -> work real $"/proc/self/fd/{fd}")
            finally
                close fd

    /// What `statx` tells: the type bits of the mode, the owner, the size, and the mtime in .NET ticks, UTC.
    [<Struct>]
    type Status = { kind: int; owner: uint; size: int64; modified: int64 }

    let S_IFREG = 0x8000
    let S_IFDIR = 0x4000
    let S_IFLNK = 0xA000

    let private AT_FDCWD = -100
    let private AT_SYMLINK_NOFOLLOW = 0x100
    let private AT_EMPTY_PATH = 0x1000
    let private STATX_TYPE_UID_SIZE_MTIME = 0x1u ||| 0x8u ||| 0x200u ||| 0x40u

    let private status fd path flags : Result<Status, int> =
        let buffer = NativePtr.stackalloc<byte> 256

        match
            Native.statx (fd, path, flags, STATX_TYPE_UID_SIZE_MTIME, NativePtr.toByRef buffer)
        with
        | -1 -> Error(lastError ())
        | _ ->
            let field = ReadOnlySpan<byte>(NativePtr.toVoidPtr buffer, 256)
            let seconds = MemoryMarshal.Read<int64>(field.Slice 112)
            let nanoseconds = MemoryMarshal.Read<uint32>(field.Slice 120)

            Ok {
                kind = int (MemoryMarshal.Read<uint16>(field.Slice 28)) &&& 0xF000
                owner = MemoryMarshal.Read<uint32>(field.Slice 20)
                size = MemoryMarshal.Read<int64>(field.Slice 40)
                modified =
                    DateTime.UnixEpoch.Ticks
                    + seconds * TimeSpan.TicksPerSecond
                    + int64 nanoseconds / 100L
            }

    /// Device and inode of a path, without following a link at its end.
    let inodeOf (path: string) : Result<struct (uint64 * uint64), int> =
        let buffer = NativePtr.stackalloc<byte> 256
        let STATX_INO = 0x100u

        match
            Native.statx (AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO, NativePtr.toByRef buffer)
        with
        | -1 -> Error(lastError ())
        | _ ->
            let field = ReadOnlySpan<byte>(NativePtr.toVoidPtr buffer, 256)
            let major = uint64 (MemoryMarshal.Read<uint32>(field.Slice 136))
            let minor = uint64 (MemoryMarshal.Read<uint32>(field.Slice 140))
            Ok struct ((major <<< 32) ||| minor, MemoryMarshal.Read<uint64>(field.Slice 32))

    /// Of a path, without following a link at its end.
    let statusOf (path: string) =
        status AT_FDCWD path AT_SYMLINK_NOFOLLOW

    /// Whether a path is a folder of the user that this process acts for, and no link.
    let isOwn (path: string) =
        match statusOf path with
        | Ok status -> status.kind = S_IFDIR && status.owner = Native.geteuid ()
        | Error _ -> false

    /// Of a path, or of what it leads to.
    let statusOfTarget (path: string) = status AT_FDCWD path 0

    /// The user that this process acts for.
    let user () = Native.geteuid ()

    /// Of what is open.
    let statusOfOpen (fd: int) = status fd "" AT_EMPTY_PATH

    module Inotify =
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
            match Native.inotify_init1 (O_NONBLOCK ||| O_CLOEXEC) with
            | -1 -> Error(lastError ())
            | fd -> Ok fd

        let addWatch (fd: int) (path: string) (mask: uint) : Result<int, int> =
            match Native.inotify_add_watch (fd, path, mask) with
            | -1 -> Error(lastError ())
            | watch -> Ok watch

        let removeWatch (fd: int) (watch: int) =
            Native.inotify_rm_watch (fd, watch) |> ignore

    /// A descriptor that another thread can make readable.
    module Wake =
        let create () : Result<int, int> =
            match Native.eventfd (0u, O_NONBLOCK ||| O_CLOEXEC) with
            | -1 -> Error(lastError ())
            | fd -> Ok fd

        let signal (fd: int) =
            let mutable one = 1UL
            Native.write (fd, &one, 8n) |> ignore

        /// It cannot be read any more, until the next signal.
        let clear (fd: int) =
            let mutable buffer = 0UL
            Native.read (fd, &Unsafe.As<uint64, byte>(&buffer), 8n) |> ignore

    /// Waits until one of some descriptors can be read, so many milliseconds have passed (-1: for ever), or a signal
    /// interrupts.
    let waitForAny (fds: int[]) (timeoutMs: int) : unit =
        let readable fd = { fd = fd; events = POLLIN; happened = 0s }
        Native.poll (Array.map readable fds, unativeint fds.Length, timeoutMs) |> ignore

    /// Waits until one of two descriptors can be read, or a signal interrupts; the caller tries again.
    let waitForEither (first: int) (second: int) : unit =
        let readable fd = { fd = fd; events = POLLIN; happened = 0s }
        Native.poll ([| readable first; readable second |], 2un, -1) |> ignore
