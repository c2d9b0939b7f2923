namespace FsScheduler.Platform

open System
open System.IO
open System.Runtime.InteropServices

/// How many files and sockets the system lets this process have open.
module DescriptorLimit =

    [<Struct; StructLayout(LayoutKind.Sequential)>]
    type private Limits = { soft: uint64; hard: uint64 }

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int getrlimit(int resource, Limits& limits)

    let private RLIMIT_NOFILE = if OperatingSystem.IsMacOS() then 8 else 7

    /// As it is now: the runtime has raised it to the most that it may by the time that we run. None where the system does
    /// not tell.
    let current () : int64 voption =
        if OperatingSystem.IsLinux() || OperatingSystem.IsMacOS() then
            let mutable limits = { soft = 0UL; hard = 0UL }

            if Native.getrlimit (RLIMIT_NOFILE, &limits) = 0 then
                ValueSome(int64 (min limits.soft (uint64 Int64.MaxValue)))
            else
                ValueNone
        else
            ValueNone

    // The runtime keeps its libraries open, some 150 in a scheduler: with fewer it fails at any of them, at any moment.
    let private least = 192L

    /// What to do, where the system allows too few.
    let shortage () : string voption =
        match current () with
        | ValueSome count when count < least ->
            ValueSome
                $"only {count} files may be open at once, and the runtime alone needs some 150: allow {least} or more ('ulimit -n')"
        | _ -> ValueNone

    // Where it cannot be looked up: as many as were seen where it can.
    let private openUsually = 150L

    /// How many this process has open now.
    let isOpen () : int64 =
        try
            let folder =
                if OperatingSystem.IsLinux() then
                    "/proc/self/fd"
                else
                    "/dev/fd"

            Directory.EnumerateFileSystemEntries folder |> Seq.length |> int64
        with
        | :? IOException
        | :? UnauthorizedAccessException -> openUsually
