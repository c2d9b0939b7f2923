/// Programs of the system, and whether they run.
[<AutoOpen>]
module FsScheduler.TestKit.Shell

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open Expecto

/// The exit code of a program of the system, for what .NET cannot make. Fails where it takes longer than `patience`.
let exitCodeOf (folder: string) (command: string) : int =
    let start =
        ProcessStartInfo("/bin/sh", [ "-c"; command ], WorkingDirectory = folder)

    use child = nonNull (Process.Start start)

    if not (child.WaitForExit patience) then
        child.Kill true
        failwith $"{command}: it has not ended within {patience.TotalSeconds} s"

    child.ExitCode

/// Runs a program of the system, and fails where it fails.
let shell (folder: string) (command: string) =
    match exitCodeOf folder command with
    | 0 -> ()
    | code -> failwith $"{command}: exit code {code}"

/// Mounts a tmpfs, which takes root and Linux; false where that is refused.
let tryMountTmpfs (options: string) (folder: string) : bool =
    exitCodeOf folder $"mount -t tmpfs -o {options} tmpfs '{folder}' 2>/dev/null" = 0

/// Unmounts a folder, also one in use.
let unmountNow (folder: string) =
    exitCodeOf "/" $"umount -l '{folder}'" |> ignore

/// Whether a process is there and no zombie.
let isAlive (pid: int) =
    try
        let status = File.ReadAllText $"/proc/{pid}/stat"
        status.Substring(status.LastIndexOf ')' + 2)[0] <> 'Z'
    with :? IOException ->
        false

/// A test of something that only Unix has.
let unixTest (name: string) (body: unit -> Task<unit>) =
    testTask name {
        if OperatingSystem.IsWindows() then
            skiptest "the programs that it runs are those of Unix"

        do! body ()
    }
