namespace FsScheduler.Platform

#nowarn "9" // stackalloc: the buffers of these calls live for one call.

open System
open System.Collections.Concurrent
open System.Runtime.CompilerServices
open System.Runtime.InteropServices
open System.Text
open Microsoft.FSharp.NativeInterop

/// Calls of Linux that .NET has no equal for: what kind of thing a path is, opening without
/// waiting. Everywhere else `OperatingSystem.IsLinux()` is false and nobody calls them.
/// The flags are those of every Linux that .NET runs on.
module internal Linux =

    [<Literal>]
    let private Utf8 = UnmanagedType.LPUTF8Str

    module Errno =
        let EPERM = 1
        let ENOENT = 2
        let EAGAIN = 11
        let EACCES = 13
        let EEXIST = 17
        let EXDEV = 18
        let ENOTDIR = 20
        let EINVAL = 22
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

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int ``open``([<MarshalAs(Utf8)>] string path, int flags, int mode)

        [<DllImport("libc")>]
        extern int close(int fd)

        [<DllImport("libc", SetLastError = true)>]
        extern int rename([<MarshalAs(Utf8)>] string source, [<MarshalAs(Utf8)>] string target)

        [<DllImport("libc", SetLastError = true)>]
        extern int renameat2(
            int from,
            [<MarshalAs(Utf8)>] string source,
            int into,
            [<MarshalAs(Utf8)>] string target,
            uint flags
        )

        [<DllImport("libc", SetLastError = true)>]
        extern int link([<MarshalAs(Utf8)>] string source, [<MarshalAs(Utf8)>] string target)

        [<DllImport("libc", SetLastError = true)>]
        extern int unlink([<MarshalAs(Utf8)>] string path)

        [<DllImport("libc", SetLastError = true)>]
        extern int fsync(int fd)

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

        [<DllImport("libc", SetLastError = true)>]
        extern int statfs([<MarshalAs(Utf8)>] string path, byte& status)

        [<DllImport("libc", SetLastError = true)>]
        extern int fstatfs(int fd, byte& status)

        [<DllImport("libc")>]
        extern uint geteuid()

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

    /// What `statx` tells: the type bits of the mode, the owner, the size, the mtime and the ctime in .NET ticks, UTC, which
    /// may be those of no `DateTime`; the device and the inode, and whether that will be the same tomorrow.
    [<Struct>]
    type Status = {
        kind: int
        owner: uint
        /// How many names it has.
        links: uint
        size: int64
        modified: int64
        changed: int64
        device: struct (uint * uint)
        inode: int64
        isLasting: bool
    }

    let S_IFREG = 0x8000
    let S_IFDIR = 0x4000
    let S_IFLNK = 0xA000

    let private AT_FDCWD = -100
    let private AT_SYMLINK_NOFOLLOW = 0x100
    let private AT_EMPTY_PATH = 0x1000

    /// Type, names, owner, mtime, ctime, inode and size.
    let private STATX_ASKED =
        0x1u ||| 0x4u ||| 0x8u ||| 0x40u ||| 0x80u ||| 0x100u ||| 0x200u

    /// 100 ns ticks since the year 1 of a time that may be any: a file system keeps what it is given.
    let private ticksOf (time: ReadOnlySpan<byte>) =
        let seconds = MemoryMarshal.Read<int64> time
        let nanoseconds = MemoryMarshal.Read<uint32>(time.Slice 8)
        let farthest = 800_000_000_000L // seconds: a little more, and the ticks would not fit

        DateTime.UnixEpoch.Ticks
        + (max -farthest (min farthest seconds)) * TimeSpan.TicksPerSecond
        + int64 nanoseconds / 100L

    /// The type of a file system, from `statfs`.
    module FileSystemType =
        let NFS = 0x6969
        let CIFS = 0xFF534D42
        let SMB2 = 0xFE534D42
        let private MSDOS = 0x4d44
        let private EXFAT = 0x2011BAB0
        let private FUSE = 0x65735546

        /// Whoever writes to a file there does so on this machine.
        let isLocal kind =
            not (List.contains kind [ NFS; CIFS; SMB2 ])

        /// These make up the numbers of files, others at the next mount, or even before.
        let hasLastingInodes kind =
            not (List.contains kind [ CIFS; SMB2; MSDOS; EXFAT; FUSE ])

    let private fileSystemType fd path =
        let buffer = NativePtr.stackalloc<byte> 256

        let outcome =
            if path = "" then
                Native.fstatfs (fd, NativePtr.toByRef buffer)
            else
                Native.statfs (path, NativePtr.toByRef buffer)

        if outcome = 0 then
            ValueSome(MemoryMarshal.Read<int>(ReadOnlySpan<byte>(NativePtr.toVoidPtr buffer, 4)))
        else
            ValueNone

    /// Of what is open.
    let fileSystemTypeOfOpen (fd: int) = fileSystemType fd ""

    /// By device, since each file asks.
    let private lastingInodes = ConcurrentDictionary<struct (uint * uint), bool>()
    let private devicesMax = 1_000

    let private hasLastingInodes fd path (device: struct (uint * uint)) =
        match lastingInodes.TryGetValue device with
        | true, known -> known
        | _ ->
            match fileSystemType fd path with
            | ValueNone -> true
            | ValueSome kind ->
                let lasting = FileSystemType.hasLastingInodes kind

                if lastingInodes.Count < devicesMax then
                    lastingInodes[device] <- lasting

                lasting

    let private status fd path flags : Result<Status, int> =
        let buffer = NativePtr.stackalloc<byte> 256

        match Native.statx (fd, path, flags, STATX_ASKED, NativePtr.toByRef buffer) with
        | -1 -> Error(lastError ())
        | _ ->
            let field = ReadOnlySpan<byte>(NativePtr.toVoidPtr buffer, 256)

            let device =
                struct (MemoryMarshal.Read<uint32>(field.Slice 136),
                        MemoryMarshal.Read<uint32>(field.Slice 140))

            Ok {
                kind = int (MemoryMarshal.Read<uint16>(field.Slice 28)) &&& 0xF000
                owner = MemoryMarshal.Read<uint32>(field.Slice 20)
                links = MemoryMarshal.Read<uint32>(field.Slice 16)
                size = MemoryMarshal.Read<int64>(field.Slice 40)
                modified = ticksOf (field.Slice 112)
                changed = ticksOf (field.Slice 96)
                device = device
                inode = MemoryMarshal.Read<int64>(field.Slice 32)
                isLasting = hasLastingInodes fd path device
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

    /// The text of a link; an errno.
    let linkText (path: string) : Result<string, int> =
        let size = 4096
        let buffer = NativePtr.stackalloc<byte> size

        match int (Native.readlink (path, NativePtr.toByRef buffer, nativeint size)) with
        | -1 -> Error(lastError ())
        | length -> Ok(Encoding.UTF8.GetString(ReadOnlySpan(NativePtr.toVoidPtr buffer, length)))

    /// Renames within a file system, unless the new name is taken: Ok, or an errno. Never copies.
    let renameToNew (source: string) (target: string) : Result<unit, int> =
        let RENAME_NOREPLACE = 1u

        let outcome code =
            if code = 0 then Ok() else Error(lastError ())

        let renamed =
            try
                outcome (Native.renameat2 (AT_FDCWD, source, AT_FDCWD, target, RENAME_NOREPLACE))
            with :? EntryPointNotFoundException ->
                Error Errno.EINVAL

        match renamed with
        // The file system, or the C library, does not know that flag.
        | Error errno when errno = Errno.EINVAL || errno = 38 (* ENOSYS *) ->
            match outcome (Native.link (source, target)) with
            | Ok() -> outcome (Native.unlink source)
            | Error errno when errno = Errno.EEXIST || errno = Errno.EXDEV -> Error errno
            // Nor does it know links: the moment between the look and the rename remains.
            | Error _ ->
                match statusOf target with
                | Ok _ -> Error Errno.EEXIST
                | Error _ -> outcome (Native.rename (source, target))
        | other -> other

    /// Flushes a folder, so that the names in it last: Ok, or an errno.
    let syncFolder (path: string) : Result<unit, int> =
        match openForReading path with
        | Error errno -> Error errno
        | Ok fd ->
            try
                if Native.fsync fd = 0 then Ok() else Error(lastError ())
            finally
                close fd
