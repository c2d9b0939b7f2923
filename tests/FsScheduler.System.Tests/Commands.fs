/// Commands of `fs-scheduler` that run to their end, and what they print.
module FsScheduler.System.Tests.Commands

open System
open System.IO
open System.Text.Json
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

/// A command that has ended.
type Answer = {
    code: int
    lines: string list
    errors: string list
} with

    member answer.Text = String.concat "\n" (answer.lines @ answer.errors)

    /// Its lines, each a row of a table.
    member answer.Cells =
        answer.lines |> List.map (fun line -> List.ofArray (line.Split '\t'))

    /// Its lines, each a JSON object.
    member answer.Json =
        answer.lines
        |> List.map (fun line ->
            use document = JsonDocument.Parse line
            document.RootElement.Clone())

let answerOf (program: Program) =
    task {
        let! code = program.Exit
        return { code = code; lines = program.Output.All; errors = program.Errors.All }
    }

let run (place: Workplace) (args: string list) =
    task {
        use program = fsScheduler place.Path args
        return! answerOf program
    }

/// A command that asks the scheduler on this port, and goes on.
let startCommand (place: Workplace) (port: int) (args: string list) =
    fsScheduler place.Path (args @ [ "--connect"; $"127.0.0.1:{port}" ])

/// The answer of the scheduler on this port.
let ask (place: Workplace) (port: int) (args: string list) =
    task {
        use program = startCommand place port args
        return! answerOf program
    }

let expectCode code (answer: Answer) =
    Expect.equal answer.code code answer.Text

/// A field of a JSON object that must have it.
let field (name: string) (json: JsonElement) = json.GetProperty(name).ToString()

/// A program with variables in its environment, as `NAME=VALUE`.
let withVariables (variables: string list) (folder: string) (path: string) (args: string list) =
    new Program("/usr/bin/env", variables @ [ path ] @ args, folder)

/// A line for the shell, in which S stands for `fs-scheduler`, and W for `fs-worker`.
let inShell (place: Workplace) (line: string) =
    if OperatingSystem.IsWindows() then
        skiptest "a line for the shell"

    new Program(
        "/bin/sh",
        [
            "-c"
            $"S() {{ '{schedulerPath}' \"$@\"; }}; W() {{ '{workerPath}' \"$@\"; }}; {line}"
        ],
        place.Path
    )

/// A run with `--once` and a worker of its own: the exit code, and the scheduler that has ended.
let once (place: Workplace) (args: string list) =
    task {
        let! struct (scheduler, _) =
            startScheduler place ([ "--once"; "--workers"; "1" ] @ args)

        use scheduler = scheduler
        let! code = scheduler.Exit
        return struct (code, scheduler)
    }

/// As `once`; the exit code and the names of all results are these.
let expectOnce (place: Workplace) (args: string list) (code: int) (results: string list) =
    task {
        let! struct (ended, scheduler) = once place args
        Expect.equal (ended, place.Results) (code, results) scheduler.Said
        return scheduler
    }

/// A file beside `entrada/`, in a folder that is made.
let put (place: Workplace) (name: string) (text: string) =
    let path = place.At name
    Directory.CreateDirectory(nonNull (Path.GetDirectoryName path)) |> ignore
    File.WriteAllText(path, text)

let link (place: Workplace) (name: string) (target: string) =
    File.CreateSymbolicLink(place.At name, target) |> ignore

/// What a program says before it gives up: one sentence, and no stack trace.
let oneSentence (program: Program) =
    let said = program.Errors.All |> List.filter (fun line -> line.StartsWith "fs-")
    Expect.equal said.Length 1 $"one sentence. {program.Said}"

    Expect.isFalse
        (program.Errors.All |> List.exists _.StartsWith("   at "))
        $"no stack trace. {program.Said}"

    said[0]
