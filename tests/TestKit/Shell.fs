/// Programs of the system, and whether they run.
[<AutoOpen>]
module FsScheduler.TestKit.Shell

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open Expecto

/// Runs a program of the system, for what .NET cannot make.
let shell (folder: string) (command: string) =
    let start =
        ProcessStartInfo("/bin/sh", [ "-c"; command ], WorkingDirectory = folder)

    use child = nonNull (Process.Start start)

    if not (child.WaitForExit patience) then
        child.Kill true
        failwith $"{command}: it has not ended within {patience.TotalSeconds} s"

    if child.ExitCode <> 0 then
        failwith $"{command}: exit code {child.ExitCode}"

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
