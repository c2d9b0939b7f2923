namespace FsScheduler.Execution.Exec

#nowarn "9" // pointers: the memory of these calls lives for one call.

open System
open System.IO
open System.Runtime.InteropServices
open Microsoft.FSharp.NativeInterop

/// The limit of open files for programs. The runtime raises the limit of its own process to the highest that is
/// allowed. A program that inherits a high limit is slow if it closes all possible descriptors, and fails if it uses
/// `select`: so programs get the limit that the worker was started with, and may raise it. Linux only.
module internal OpenFileLimit =

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int prlimit(int pid, int resource, uint64* limit, uint64* before)

    let private RLIMIT_NOFILE = 7

    /// The default of the kernel and of systemd, used if the limit at the worker's start cannot be found out.
    let private usual = 1024UL

    // The most parents that are passed over because they are .NET runtimes, which have raised their limits too.
    let private parentsMax = 16

    let private limitsOf pid : struct (uint64 * uint64) voption =
        let values = NativePtr.stackalloc<uint64> 2

        if Native.prlimit (pid, RLIMIT_NOFILE, NativePtr.ofNativeInt 0n, values) = 0 then
            ValueSome(struct (NativePtr.get values 0, NativePtr.get values 1))
        else
            ValueNone

    let private set pid soft hard =
        let values = NativePtr.stackalloc<uint64> 2
        NativePtr.set values 0 soft
        NativePtr.set values 1 hard
        Native.prlimit (pid, RLIMIT_NOFILE, values, NativePtr.ofNativeInt 0n) |> ignore

    /// The parent of a process; 0: it cannot be found out.
    let private parentOf (pid: int) =
        try
            let stat = File.ReadAllText $"/proc/{pid}/stat"
            // The name before the fields, in parentheses, may contain anything.
            let fields = stat.Substring(stat.LastIndexOf ')' + 1).Split ' '
            int fields[2]
        with
        | :? IOException
        | :? UnauthorizedAccessException -> 0

    let private isRuntime (pid: int) =
        try
            File.ReadLines $"/proc/{pid}/maps"
            |> Seq.exists _.Contains("libcoreclr.so", StringComparison.Ordinal)
        with
        | :? IOException
        | :? UnauthorizedAccessException -> false

    /// The limits of another process, from /proc, which every user may read: prlimit needs more rights.
    let private limitsFromProc (pid: int) : struct (uint64 * uint64) voption =
        let number (text: string) =
            match UInt64.TryParse text with
            | true, value -> value
            | _ -> UInt64.MaxValue // "unlimited"

        try
            File.ReadLines $"/proc/{pid}/limits"
            |> Seq.tryPick (fun line ->
                if line.StartsWith("Max open files", StringComparison.Ordinal) then
                    let words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)
                    Some(struct (number words[3], number words[4]))
                else
                    None)
            |> function
                | Some limits -> ValueSome limits
                | None -> ValueNone
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ValueNone

    /// The soft limit of the nearest parent that is no runtime: the one that the worker was started with.
    let private find (hard: uint64) =
        let rec search pid left =
            let parent = parentOf pid

            if parent <= 0 || left = 0 then
                min usual hard
            elif isRuntime parent then
                search parent (left - 1)
            else
                match limitsFromProc parent with
                // A parent with another hard limit has another soft limit too.
                | ValueSome(struct (soft, itsHard)) when
                    itsHard = hard || soft <= hard && itsHard > hard
                    ->
                    min soft hard
                | _ -> min usual hard

        search Environment.ProcessId parentsMax

    /// The limit of programs, and the two of this process; none: programs inherit those of this process.
    let private wanted =
        lazy
            (match limitsOf 0 with
             | ValueSome(struct (soft, hard)) when OperatingSystem.IsLinux() ->
                 let found = find hard

                 if found < soft then
                     ValueSome(struct (found, soft, hard))
                 else
                     ValueNone
             | _ -> ValueNone)

    let private syncRoot = obj ()

    // Descriptors that other threads may open while the limit of this process is lowered.
    let private reserve = 256UL

    /// <summary>Starts a process with the limit of programs.</summary>
    /// <param name="highest">The highest descriptor known to be open: the next ones are near it.</param>
    /// <param name="start">Starts the process, and returns its id; 0 or less if it was not started.</param>
    let within (highest: int) (start: unit -> int) : int =
        match wanted.Value with
        | ValueNone -> start ()
        | ValueSome(struct (lower, soft, hard)) when uint64 highest + reserve < lower ->
            // This process itself has the lower limit for a moment: a child can only inherit it.
            lock syncRoot (fun () ->
                set 0 lower hard

                try
                    start ()
                finally
                    set 0 soft hard)
        | ValueSome(struct (lower, _, hard)) ->
            let pid = start ()

            if pid > 0 then
                set pid lower hard

            pid
