/// Which file the name of an allowed program stands for.
module FsScheduler.Execution.Tests.AllowedProgramTests

open System
open System.IO
open Expecto
open FsScheduler.Execution.Exec
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.TestKit

let private allowing =
    testList "allowing" [
        unixTest "finds a name in PATH, and takes a path as it is"
        <| fun () ->
            task {
                let path = find "cat"
                Expect.isTrue (Path.IsPathFullyQualified path) path
                Expect.equal (AllowedProgram.find path) (Ok path) ""
            }

        for program, part in
            [
                "no-such-program-here", "there is no program 'no-such-program-here' in PATH"
                "./cat", "'./cat' is a relative path; write an absolute one"
                "bin/cat", "is a relative path"
                "..", "there is no program '..' in PATH"
                "/no/such/file", "there is no file '/no/such/file'"
                "/etc/passwd", "'/etc/passwd' is not executable; make it so with chmod +x"
                "/etc", "there is no file '/etc'"
                "", "cannot be a program"
                "a,b", "cannot be a program"
                "a\nb", "cannot be a program"
            ] do
            test $"refuses {program}" {
                if OperatingSystem.IsWindows() then
                    skiptest "the paths are those of Unix"

                match AllowedProgram.find program with
                | Ok path -> failtest path
                | Error reason -> Expect.stringContains reason part ""
            }

        // It changes what the whole process sees.
        testSequenced (
            unixTest "ignores folders of PATH that depend on where the worker was started"
            <| fun () ->
                task {
                    use folder = new TempFolder()
                    let program = "fss-only-here"
                    let path = folder.At program
                    File.WriteAllText(path, "#!/bin/sh\n")
                    File.SetUnixFileMode(path, UnixFileMode.UserExecute ||| UnixFileMode.UserRead)
                    let before = Environment.GetEnvironmentVariable "PATH"
                    let relative = Path.GetRelativePath(Environment.CurrentDirectory, folder.Path)

                    try
                        Environment.SetEnvironmentVariable("PATH", $"{before}:{relative}:.::")
                        Expect.isError (AllowedProgram.find program) "a relative folder"
                        Environment.SetEnvironmentVariable("PATH", $"{before}:{folder.Path}")
                        Expect.equal (AllowedProgram.find program) (Ok path) "an absolute one"
                    finally
                        Environment.SetEnvironmentVariable("PATH", before)
                }
        )
    ]

[<Tests>]
let tests = testList "programs" [ allowing ]
