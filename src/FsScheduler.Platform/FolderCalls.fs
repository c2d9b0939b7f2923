namespace FsScheduler.Platform

#nowarn "9" // pointers: the memory of these calls lives for one call.

open System
open System.Runtime.InteropServices
open System.Text
open Microsoft.FSharp.NativeInterop

/// System calls of Linux relative to an open folder, whatever its path leads to by then; they follow no link. Names are
/// bytes, since they need not be UTF-8. Numbers and layouts are those of 64-bit Linux.
module internal FolderCalls =

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int openat(int folder, byte[] name, int flags, int mode)

        [<DllImport("libc", SetLastError = true)>]
        extern int mkdirat(int folder, byte[] name, int mode)

        [<DllImport("libc", SetLastError = true)>]
        extern int unlinkat(int folder, byte[] name, int flags)

        [<DllImport("libc", SetLastError = true)>]
        extern int renameat(int folder, byte[] name, int target, byte[] newName)

        [<DllImport("libc", SetLastError = true)>]
        extern int statx(int folder, byte[] name, int flags, uint mask, byte* status)

        [<DllImport("libc", SetLastError = true)>]
        extern int fchmod(int fd, int mode)

        [<DllImport("libc", SetLastError = true)>]
        extern int chmod(byte[] path, int mode)

        [<DllImport("libc", SetLastError = true)>]
        extern int flock(int fd, int operation)

        [<DllImport("libc", SetLastError = true)>]
        extern int dup3(int fd, int target, int flags)

        [<DllImport("libc", SetLastError = true)>]
        extern int fcntl(int fd, int command, int value)

        [<DllImport("libc", SetLastError = true)>]
        extern nativeint fdopendir(int fd)

        [<DllImport("libc", SetLastError = true)>]
        extern nativeint readdir(nativeint stream)

        [<DllImport("libc")>]
        extern int closedir(nativeint stream)

    let private O_RDWR = 2
    let private O_CREAT = 0x40
    let private O_EXCL = 0x80
    let private O_NONBLOCK = 0x800
    let private O_CLOEXEC = 0x80000
    let private O_PATH = 0x200000

    // The values of these two depend on the processor.
    let private isArm =
        match RuntimeInformation.ProcessArchitecture with
        | Architecture.Arm
        | Architecture.Arm64
        | Architecture.Armv6 -> true
        | _ -> false

    let private O_DIRECTORY = if isArm then 0x4000 else 0x10000
    let private O_NOFOLLOW = if isArm then 0x8000 else 0x20000

    let private AT_FDCWD = -100
    let private AT_REMOVEDIR = 0x200
    let private AT_SYMLINK_NOFOLLOW = 0x100
    let private AT_EMPTY_PATH = 0x1000
    let private F_DUPFD_CLOEXEC = 1030
    let private LOCK_EX_NB = 2 ||| 4

    /// Whether this system has these calls, with these numbers.
    let isAvailable =
        OperatingSystem.IsLinux()
        && (match RuntimeInformation.ProcessArchitecture with
            | Architecture.X64
            | Architecture.Arm64 -> true
            | _ -> false)

    /// A name as a C string.
    let bytesOf (name: string) = Encoding.UTF8.GetBytes(name + "\000")

    let private answer result : Result<unit, int> =
        if result < 0 then
            Error(Marshal.GetLastPInvokeError())
        else
            Ok()

    /// Moves a descriptor above 2, since children get others as 0 to 2.
    let private raised (fd: int) : Result<int, int> =
        if fd < 0 then
            Error(Marshal.GetLastPInvokeError())
        elif fd > 2 then
            Ok fd
        else
            let higher = Native.fcntl (fd, F_DUPFD_CLOEXEC, 3)
            let errno = Marshal.GetLastPInvokeError()
            Linux.close fd
            if higher < 0 then Error errno else Ok higher

    let private openAt folder name flags mode =
        Native.openat (folder, name, flags ||| O_NOFOLLOW ||| O_CLOEXEC, mode) |> raised

    /// Opens a folder to list it and to work in it.
    let openFolder folder name = openAt folder name O_DIRECTORY 0

    /// Opens a folder to work in it, which need not be readable. Follows links, since its owner chose the path.
    let openBase (path: string) =
        Native.openat (AT_FDCWD, bytesOf path, O_PATH ||| O_DIRECTORY ||| O_CLOEXEC, 0)
        |> raised

    /// Opens any file to read, without waiting for the other end of a fifo.
    let openAnything folder name = openAt folder name O_NONBLOCK 0

    let openForWriting folder name =
        openAt folder name (O_RDWR ||| O_NONBLOCK) 0

    /// Creates a file; an existing one is an error.
    let createFile folder name =
        openAt folder name (O_RDWR ||| O_CREAT ||| O_EXCL) 0o600

    /// Creates a folder; an existing one is an error. The rights of its owner do not depend on the umask.
    let createFolder folder name : Result<int, int> =
        match Native.mkdirat (folder, name, 0o700) |> answer with
        | Error errno -> Error errno
        | Ok() ->
            let created = openFolder folder name

            match created with
            | Ok fd -> Native.fchmod (fd, 0o700) |> ignore
            | Error _ -> Native.unlinkat (folder, name, AT_REMOVEDIR) |> ignore

            created

    let removeFile folder name =
        Native.unlinkat (folder, name, 0) |> answer

    let removeFolder folder name =
        Native.unlinkat (folder, name, AT_REMOVEDIR) |> answer

    let rename folder name target newName =
        Native.renameat (folder, name, target, newName) |> answer

    /// Makes `target` a copy of the descriptor `fd`.
    let replace fd target =
        Native.dup3 (fd, target, O_CLOEXEC) |> answer

    /// Locks an open file for this process and those that inherit the descriptor. False: another holds the lock.
    let tryLock fd = Native.flock (fd, LOCK_EX_NB) = 0

    [<Struct>]
    type Status = {
        /// The type bits of the mode.
        kind: int
        permissions: int
        links: uint
        owner: uint
        size: int64
        device: uint64
        inode: uint64
    }

    let private statusAt folder (name: byte[]) flags : Result<Status, int> =
        let buffer = NativePtr.stackalloc<byte> 256

        match Native.statx (folder, name, flags, 0x7ffu, buffer) with
        | -1 -> Error(Marshal.GetLastPInvokeError())
        | _ ->
            let field = ReadOnlySpan<byte>(NativePtr.toVoidPtr buffer, 256)
            let mode = int (MemoryMarshal.Read<uint16>(field.Slice 28))

            Ok {
                kind = mode &&& 0xF000
                permissions = mode &&& 0xFFF
                links = MemoryMarshal.Read<uint>(field.Slice 16)
                owner = MemoryMarshal.Read<uint>(field.Slice 20)
                size = MemoryMarshal.Read<int64>(field.Slice 40)
                device = MemoryMarshal.Read<uint64>(field.Slice 136)
                inode = MemoryMarshal.Read<uint64>(field.Slice 32)
            }

    let statusOf folder name =
        statusAt folder name AT_SYMLINK_NOFOLLOW

    let statusOfPath (path: string) = statusAt AT_FDCWD (bytesOf path) 0
    let statusOfOpen fd = statusAt fd [| 0uy |] AT_EMPTY_PATH

    /// Gives the owner all rights to a folder, which must not be a link.
    let unlock folder name : Result<unit, int> =
        match openAt folder name (O_PATH ||| O_DIRECTORY) 0 with
        | Error errno -> Error errno
        | Ok fd ->
            try
                Native.chmod (bytesOf $"/proc/self/fd/{fd}", 0o700) |> answer
            finally
                Linux.close fd

    // The offset of the name in `struct dirent` of glibc and musl where a long has 64 bits.
    let private nameAt = 19

    /// Visits the names in an open folder as C strings, without "." and "..". The descriptor stays open.
    let visit (folder: int) (visit: byte[] -> unit) : Result<unit, int> =
        // Another descriptor, with a position of its own, which the stream closes.
        match Native.openat (folder, bytesOf ".", O_DIRECTORY ||| O_CLOEXEC, 0) with
        | -1 -> Error(Marshal.GetLastPInvokeError())
        | fd ->
            match Native.fdopendir fd with
            | 0n ->
                let errno = Marshal.GetLastPInvokeError()
                Linux.close fd
                Error errno
            | stream ->
                try
                    let mutable entry = Native.readdir stream

                    while entry <> 0n do
                        let name = NativePtr.ofNativeInt<byte>(entry + nativeint nameAt)

                        let bytes = MemoryMarshal.CreateReadOnlySpanFromNullTerminated name

                        let isDots =
                            bytes.SequenceEqual(ReadOnlySpan "."B)
                            || bytes.SequenceEqual(ReadOnlySpan ".."B)

                        if not isDots then
                            let copy: byte[] = Array.zeroCreate (bytes.Length + 1)
                            bytes.CopyTo(copy.AsSpan())
                            visit copy

                        entry <- Native.readdir stream

                    Ok()
                finally
                    Native.closedir stream |> ignore
