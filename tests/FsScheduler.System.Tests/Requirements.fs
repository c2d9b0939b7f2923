/// What a test needs of its machine; without that it is skipped.
module FsScheduler.System.Tests.Requirements

open System
open System.Net
open System.Net.Sockets
open Expecto
open FsScheduler.TestKit

let onLinux () =
    if not (OperatingSystem.IsLinux()) then
        skiptest "this is about Linux"

let asRoot () =
    onLinux ()

    if not Environment.IsPrivilegedProcess then
        skiptest "only root may do this"

let onlyWithLinks () =
    if OperatingSystem.IsWindows() then
        skiptest "links need a right of their own there"

let needIPv6 () =
    try
        use listener = new TcpListener(IPAddress.IPv6Loopback, 0)
        listener.Start()
    with :? SocketException ->
        skiptest "this machine has no [::1]"

let private runs (program: string) =
    exitCodeOf "." $"{program} --version >/dev/null 2>&1" = 0

/// An interpreter that a test starts. In CI it must be there.
let need (program: string) =
    if not (runs program) then
        if String.IsNullOrEmpty(Environment.GetEnvironmentVariable "CI") then
            skiptest $"there is no {program} here"
        else
            failtest $"there is no {program}, and CI must have one"

/// Mounts with these arguments of mount(8).
let mount (place: Workplace) (args: string list) =
    task {
        onLinux ()
        use mount = new Program("mount", args, place.Path)
        let! code = mount.Exit

        if code <> 0 then
            skiptest $"nothing may be mounted here: {mount.Said}"
    }

let unmount (place: Workplace) (target: string) =
    task {
        use unmount = new Program("umount", [ target ], place.Path)
        let! code = unmount.Exit
        Expect.equal code 0 unmount.Said
    }
