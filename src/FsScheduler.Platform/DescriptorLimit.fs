namespace FsScheduler.Platform

open System
open System.IO
open System.Runtime.InteropServices

/// The limit on open files and sockets of this process.
module DescriptorLimit =

    [<Struct; StructLayout(LayoutKind.Sequential)>]
    type private Limits = { soft: uint64; hard: uint64 }

    module private Native =
        [<DllImport("libc", SetLastError = true)>]
        extern int getrlimit(int resource, Limits& limits)

    let private RLIMIT_NOFILE = if OperatingSystem.IsMacOS() then 8 else 7

    /// The limit as the runtime has raised it at start; none where the system does not tell.
    let current () : int64 voption =
        if OperatingSystem.IsLinux() || OperatingSystem.IsMacOS() then
            let mutable limits = { soft = 0UL; hard = 0UL }

            if Native.getrlimit (RLIMIT_NOFILE, &limits) = 0 then
                ValueSome(int64 (min limits.soft (uint64 Int64.MaxValue)))
            else
                ValueNone
        else
            ValueNone

    // The runtime keeps some 150 libraries open in a scheduler: with a lower limit it fails at any of them.
    let private least = 192L

    /// What to do about a limit that is too low; none: it is high enough.
    let shortage () : string voption =
        match current () with
        | ValueSome count when count < least ->
            ValueSome
                $"only {count} files may be open at once, and the runtime alone needs some 150: allow {least} or more ('ulimit -n')"
        | _ -> ValueNone

    // The number on a system that does not tell: as on those that do.
    let private openUsually = 150L

    /// How many descriptors this process has open.
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
