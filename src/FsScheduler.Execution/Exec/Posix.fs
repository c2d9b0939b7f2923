namespace FsScheduler.Execution.Exec

#nowarn "9" // pointers: the memory of these calls lives for one call.

open System
open System.IO
open System.Runtime.InteropServices
open System.Text
open Microsoft.FSharp.NativeInterop
open FsScheduler.Platform

/// Calls of Linux that start a program in a session of its own, for which .NET has no call: one call kills the program
/// and all processes it has started, even if their parents have ended. Numbers and layouts are those of every Linux that
/// .NET runs on.
module internal Posix =

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int pipe2(int[] fds, int flags)

        [<DllImport("libc", SetLastError = true)>]
        extern int fcntl(int fd, int command, int value)

        [<DllImport("libc", SetLastError = true)>]
        extern int kill(int pid, int signal)

        [<DllImport("libc", SetLastError = true)>]
        extern int waitid(int kind, int pid, byte* information, int options)

        [<DllImport("libc", SetLastError = true)>]
        extern nativeint syscall(nativeint number, nativeint first, nativeint second)

        [<DllImport("libc", SetLastError = true)>]
        extern int waitpid(int pid, int& status, int options)

        [<DllImport("libc")>]
        extern int posix_spawn(
            int& pid,
            nativeint path,
            byte* actions,
            byte* attributes,
            nativeint arguments,
            nativeint environment
        )

        [<DllImport("libc")>]
        extern int posix_spawn_file_actions_init(byte* actions)

        [<DllImport("libc")>]
        extern int posix_spawn_file_actions_destroy(byte* actions)

        [<DllImport("libc")>]
        extern int posix_spawn_file_actions_adddup2(byte* actions, int fd, int newFd)

        [<DllImport("libc")>]
        extern int posix_spawn_file_actions_addopen(
            byte* actions,
            int fd,
            nativeint path,
            int flags,
            int mode
        )

        [<DllImport("libc")>]
        extern int posix_spawn_file_actions_addchdir_np(byte* actions, nativeint path)

        [<DllImport("libc")>]
        extern int posix_spawnattr_init(byte* attributes)

        [<DllImport("libc")>]
        extern int posix_spawnattr_destroy(byte* attributes)

        [<DllImport("libc")>]
        extern int posix_spawnattr_setflags(byte* attributes, int16 flags)

        [<DllImport("libc")>]
        extern int posix_spawnattr_setsigdefault(byte* attributes, byte* signals)

        [<DllImport("libc")>]
        extern int posix_spawnattr_setsigmask(byte* attributes, byte* signals)

    let private O_CLOEXEC = 0x80000
    let private F_DUPFD_CLOEXEC = 1030
    let private P_ALL = 0
    let private P_PID = 1
    // The same number on all processors.
    let private SYS_pidfd_open = 434n
    let private WNOHANG = 1
    let private WEXITED = 4
    let private WNOWAIT = 0x1000000
    let private CLD_EXITED = 1
    let private SIGKILL = 9
    let private SIGSTOP = 19
    let private POSIX_SPAWN_SETSIGDEF = 4s
    let private POSIX_SPAWN_SETSIGMASK = 8s
    let private POSIX_SPAWN_SETSID = 0x80s

    /// Whether the C library has these calls: glibc from 2.29 on, or musl.
    let isAvailable =
        OperatingSystem.IsLinux()
        && (let mutable library = 0n
            let mutable address = 0n

            NativeLibrary.TryLoad("libc", typeof<ProgramStart>.Assembly, Nullable(), &library)
            && NativeLibrary.TryGetExport(library, "posix_spawn_file_actions_addchdir_np", &address))

    let private failure (what: string) errno =
        IOException($"{what}: {Linux.message errno}", errno)

    /// Descriptors for 0, 1 and 2 of a child must not be 0, 1 or 2 here.
    let rec private raised fd =
        if fd > 2 then
            fd
        else
            let higher = Native.fcntl (fd, F_DUPFD_CLOEXEC, 3)
            let errno = Marshal.GetLastPInvokeError()
            Linux.close fd

            if higher < 0 then
                raise (failure "no pipe can be made" errno)

            higher

    /// <summary>A pipe that children do not inherit.</summary>
    /// <returns>The end to read from, and the end to write to.</returns>
    let pipe () : struct (int * int) =
        let fds = [| -1; -1 |]

        if Native.pipe2 (fds, O_CLOEXEC) < 0 then
            raise (failure "no pipe can be made" (Marshal.GetLastPInvokeError()))

        struct (raised fds[0], raised fds[1])

    /// An array of C strings in one block of memory, which the caller frees: pointers, a null, then the bytes.
    let private cStrings (texts: string[]) : nativeint =
        let pointers = (texts.Length + 1) * IntPtr.Size

        let bytes = texts |> Array.sumBy (fun text -> Encoding.UTF8.GetByteCount text + 1)

        let block = Marshal.AllocHGlobal(pointers + bytes)
        let mutable at = block + nativeint pointers

        for index in 0 .. texts.Length - 1 do
            Marshal.WriteIntPtr(block, index * IntPtr.Size, at)
            let text = texts[index]
            let length = Encoding.UTF8.GetByteCount text
            let target = Span<byte>(at.ToPointer(), length + 1)
            Encoding.UTF8.GetBytes(text.AsSpan(), target) |> ignore
            target[length] <- 0uy
            at <- at + nativeint (length + 1)

        Marshal.WriteIntPtr(block, texts.Length * IntPtr.Size, 0n)
        block

    /// What a standard stream of a program is connected to.
    [<Struct>]
    type Source =
        | Descriptor of fd: int
        | Path of path: string * isWritten: bool

    /// <summary>Starts a program as the leader of a new session, with no signal blocked or ignored.</summary>
    /// <param name="start">The program.</param>
    /// <param name="sources">Standard input, output and error.</param>
    /// <returns>The process id, which is also the id of the process group.</returns>
    /// <exception cref="T:System.IO.IOException">The program cannot be started.</exception>
    let spawn (start: ProgramStart) (sources: Source[]) : int =
        // Larger than the structures of any C library.
        let actions = NativePtr.stackalloc<byte> 512
        let attributes = NativePtr.stackalloc<byte> 512
        let signals = NativePtr.stackalloc<byte> 128
        Span<byte>(NativePtr.toVoidPtr signals, 128).Clear()

        let memory = ResizeArray<nativeint>()

        let text (value: string) =
            let block = Marshal.StringToCoTaskMemUTF8 value
            memory.Add block
            block

        let arguments = cStrings (Array.append [| start.name |] start.arguments)
        let environment = cStrings start.environment
        Native.posix_spawn_file_actions_init actions |> ignore
        Native.posix_spawnattr_init attributes |> ignore

        try
            let mutable error = 0

            let check result =
                if error = 0 then
                    error <- result

            for fd in 0 .. sources.Length - 1 do
                match sources[fd] with
                | Descriptor from ->
                    check (Native.posix_spawn_file_actions_adddup2 (actions, from, fd))
                | Path(path, isWritten) ->
                    let flags = if isWritten then 1 else 0

                    check (
                        Native.posix_spawn_file_actions_addopen (actions, fd, text path, flags, 0)
                    )

            check (Native.posix_spawn_file_actions_addchdir_np (actions, text start.folder))
            check (Native.posix_spawnattr_setsigmask (attributes, signals))
            // The runtime ignores SIGPIPE, this process SIGXFSZ, its parent perhaps others, and glibc leaves two
            // real-time signals of its own ignored: a program that inherits this would not end by these signals.
            for number in 1..64 do
                if number <> SIGKILL && number <> SIGSTOP then
                    let at = (number - 1) / 8
                    let bits = NativePtr.get signals at
                    NativePtr.set signals at (bits ||| (1uy <<< (number - 1) % 8))

            check (Native.posix_spawnattr_setsigdefault (attributes, signals))

            check (
                Native.posix_spawnattr_setflags (
                    attributes,
                    POSIX_SPAWN_SETSID ||| POSIX_SPAWN_SETSIGDEF ||| POSIX_SPAWN_SETSIGMASK
                )
            )

            let program = text start.path

            let highest =
                (0, sources)
                ||> Array.fold (fun highest source ->
                    match source with
                    | Descriptor fd -> max highest fd
                    | Path _ -> highest)

            let mutable pid = 0

            if error = 0 then
                pid <-
                    OpenFileLimit.within highest (fun () ->
                        let mutable pid = 0

                        error <-
                            Native.posix_spawn (
                                &pid,
                                program,
                                actions,
                                attributes,
                                arguments,
                                environment
                            )

                        if error = 0 then pid else 0)

            if error <> 0 then
                raise (IOException(StartFailure.describe start.path error, error))

            pid
        finally
            Native.posix_spawn_file_actions_destroy actions |> ignore
            Native.posix_spawnattr_destroy attributes |> ignore
            Marshal.FreeHGlobal arguments
            Marshal.FreeHGlobal environment

            for block in memory do
                Marshal.FreeCoTaskMem block

    /// Kills a process group, if it still exists.
    let killGroup (group: int) = Native.kill (-group, SIGKILL) |> ignore

    /// <summary>A child that has ended. The child stays a zombie, so that its id is not reused.</summary>
    /// <returns>The child, or 0 if all are running, and how it ended; none: there is no such child.</returns>
    let private tryEnded kind (pid: int) : struct (int * ProgramEnd) voption =
        let information = NativePtr.stackalloc<byte> 128
        let bytes = Span<byte>(NativePtr.toVoidPtr information, 128)
        bytes.Clear()

        if Native.waitid (kind, pid, information, WNOHANG ||| WEXITED ||| WNOWAIT) < 0 then
            ValueNone
        else
            let status = MemoryMarshal.Read<int>(bytes.Slice 24)
            let isExit = MemoryMarshal.Read<int>(bytes.Slice 8) = CLD_EXITED
            let ending = if isExit then Exited status else Signalled status
            ValueSome(struct (MemoryMarshal.Read<int>(bytes.Slice 16), ending))

    /// <summary>How a child has ended. The child stays a zombie, so that its id is not reused.</summary>
    /// <returns>None: the child is running.</returns>
    let tryEnding (pid: int) : ProgramEnd voption =
        match tryEnded P_PID pid with
        | ValueSome(struct (0, _)) -> ValueNone
        | ValueSome(struct (_, ending)) -> ValueSome ending
        // Other code of this process has waited for the child: how the child ended is not known.
        | ValueNone -> ValueSome(Exited -1)

    /// A child that has ended and was not reaped, whatever started it.
    let tryAnyEnding () : int voption =
        match tryEnded P_ALL 0 with
        | ValueSome(struct (pid, _)) when pid <> 0 -> ValueSome pid
        | _ -> ValueNone

    /// A descriptor that becomes readable when a process ends, and that children do not inherit.
    let tryDescriptorOf (pid: int) : int voption =
        match int (Native.syscall (SYS_pidfd_open, nativeint pid, 0n)) with
        | fd when fd >= 0 -> ValueSome fd
        | _ -> ValueNone

    /// Whether the kernel has such descriptors.
    let hasChildDescriptors () =
        match tryDescriptorOf Environment.ProcessId with
        | ValueSome fd ->
            Linux.close fd
            true
        | ValueNone -> false

    /// Reaps a child that has ended, which frees its id.
    let reap (pid: int) =
        let mutable status = 0
        Native.waitpid (pid, &status, WNOHANG) |> ignore
