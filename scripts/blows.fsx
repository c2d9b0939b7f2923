// What the field does to a scheduler and its workers, besides killing them: for chaos.fsx.

#load "processes.fsx"

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open Processes

// ---- What comes in, and what is counted

let text (name: string) version =
    String.replicate (1 + version) $"  FICHEIRO {name}, VERSÃO {version}: AÇÃO!\n"

let expected (content: string) =
    content.Split '\n'
    |> Array.map (fun line -> line.Trim().ToLowerInvariant())
    |> String.concat "\n"

let isResult (target: string) (content: string) =
    try
        File.Exists target && File.ReadAllText target = expected content
    with :? IOException ->
        false

let count = Dictionary<string, int>()

let tally what more =
    count[what] <- count.GetValueOrDefault(what, 0) + more

// ---- Blows

/// Runs a program to its end, without a word, and says whether it ended well.
let private isDone (program: string) (arguments: string list) =
    let info =
        ProcessStartInfo(
            program,
            arguments,
            RedirectStandardError = true,
            RedirectStandardOutput = true
        )

    try
        use one = nonNull (Process.Start info)
        let said = one.StandardError.ReadToEndAsync()
        one.StandardOutput.ReadToEnd() |> ignore
        said.Wait()
        codeOf one = 0
    with :? ComponentModel.Win32Exception ->
        false

// A mount that comes and goes

let private mount (folder: string) =
    isDone "mount" [ "-t"; "tmpfs"; "-o"; "size=1m"; "none"; folder ]

let unmount (folder: string) =
    isDone "umount" [ folder ] || isDone "umount" [ "-l"; folder ]

/// Whether file systems can be mounted here, found out by doing it.
let canMount =
    lazy
        (OperatingSystem.IsLinux()
         && (let folder = Directory.CreateTempSubdirectory("chaos-mount-").FullName

             try
                 mount folder && unmount folder
             finally
                 Directory.Delete folder))

/// Another file system lies over a folder for a while.
let cover (folder: string) (time: TimeSpan) =
    if mount folder then
        try
            Thread.Sleep time
        finally
            if not (unmount folder) then
                raise (Wrong $"{folder} cannot be unmounted")

// A temporary folder that is cleaned

/// What programs that clean temporary folders do, while somebody may be writing there.
let clean (folder: string) =
    for path in Directory.GetFileSystemEntries folder do
        try
            if Directory.Exists path then
                Directory.Delete(path, true)
            else
                File.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

// Inputs

/// Writes an input, whole at once: by rename.
let putInput (inputs: string) (name: string) (content: string) =
    let path = Path.Combine(inputs, name)
    Directory.CreateDirectory(nonNull (Path.GetDirectoryName path)) |> ignore
    File.WriteAllText(Path.Combine(inputs, "next.tmp"), content)
    File.Move(Path.Combine(inputs, "next.tmp"), path, true)

// A program that fails at once

let private script (path: string) (line: string) =
    // By rename: what is being run is not written to.
    File.WriteAllText(path + ".new", $"#!/bin/sh\n{line}\n")

    if not (OperatingSystem.IsWindows()) then
        File.SetUnixFileMode(
            path + ".new",
            UnixFileMode.UserRead ||| UnixFileMode.UserExecute ||| UnixFileMode.UserWrite
        )

    File.Move(path + ".new", path, true)

/// A folder with a `cat` that does nothing but fail.
let broken (folder: string) =
    Directory.CreateDirectory folder |> ignore
    script (Path.Combine(folder, "cat")) "echo broken >&2; exit 1"
    folder

/// It is put right.
let repair (folder: string) =
    if Directory.Exists folder then
        script (Path.Combine(folder, "cat")) "exec /bin/cat"

// A log that nobody reads

let private stranger =
    "{\"type\":\"HELLO\",\"protocol\":99,\"role\":\"client\",\"name\":\"stranger\"}\n"B

/// Peers that are sent away: a line of the log each.
let strangers (address: string) (count: int) =
    for _ in 1..count do
        try
            use peer = new TcpClient()
            peer.Connect(IPEndPoint.Parse address)
            let stream = peer.GetStream()
            stream.Write(ReadOnlySpan stranger)
            stream.CopyTo Stream.Null
        with
        | :? SocketException
        | :? IOException -> ()

/// <summary>Closes the gate of a scheduler, and has it say more than its pipe takes.</summary>
/// <param name="address">Where it listens, and answers.</param>
/// <param name="gate">What is read of its log is up to that.</param>
/// <param name="scheduler">What it is.</param>
/// <returns>How many bytes wait in the pipe, to which it cannot add any.</returns>
let fillLog (address: string) (gate: ManualResetEventSlim) (scheduler: Process) : int =
    gate.Reset()
    let mutable waiting = 0

    eventually "the pipe of the log is full" (fun () ->
        strangers address 20
        Thread.Sleep 100
        let before = waiting
        waiting <- unread scheduler
        waiting > 0 && waiting = before)

    waiting
