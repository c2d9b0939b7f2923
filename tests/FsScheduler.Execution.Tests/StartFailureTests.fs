/// Programs that cannot be started: what is said of it, and that it is no matter of the payload.
module FsScheduler.Execution.Tests.StartFailureTests

open System
open System.IO
open Expecto
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Execution.Tests.ExecSupport
open FsScheduler.TestKit

/// Runs a program that is this text, and gives how that fails.
let private failure (stage: string) (text: string) (spoil: string -> unit) =
    task {
        use folder = new TempFolder()
        let path = folder.At "program"
        File.WriteAllText(path, text)

        File.SetUnixFileMode(
            path,
            UnixFileMode.UserExecute ||| UnixFileMode.UserRead ||| UnixFileMode.UserWrite
        )

        let bench = new Bench([ path ])
        spoil path

        let! failure =
            task {
                try
                    let payload = Bytes(Text.Encoding.UTF8.GetBytes "x\n")
                    let! result = bench.RunAsync($"{stage}:{path}", payload)
                    return failtest $"it gave {result}"
                with :? StageException as error ->
                    return error
            }

        do! (bench :> IAsyncDisposable).DisposeAsync()
        return struct (path, failure)
    }

[<Tests>]
let tests =
    testList "programs that cannot be started" [
        for stage in [ "exec"; "exec-lines" ] do
            for name, text, reason in
                [
                    "no interpreter",
                    "#!/nowhere/to/be/found\n",
                    "its interpreter '/nowhere/to/be/found' is not there"
                    "line ends of Windows",
                    "#!/bin/sh\r\nexit 0\r\n",
                    "its first line ends in a carriage return"
                    "line ends of Windows, and an option",
                    "#!/bin/sh -e\r\n",
                    "its first line ends in a carriage return"
                    "line ends of Windows, by env",
                    "#!/usr/bin/env sh\r\n",
                    "its first line ends in a carriage return"
                    "an interpreter that env does not find",
                    "#!/usr/bin/env nosuchshell\n",
                    "its interpreter 'nosuchshell' is not in PATH"
                    "neither a script nor a program", "text\n", "no script that begins with '#!'"
                ] do
                unixTest $"{stage}: {name}"
                <| fun () ->
                    task {
                        let! struct (path, failure) = failure stage text ignore
                        Expect.stringStarts failure.Message $"'{path}' cannot be started: " "what"
                        Expect.stringContains failure.Message reason "why"
                        Expect.isTrue failure.IsOfWorker "the worker's"
                    }

        unixTest "one that is gone"
        <| fun () ->
            task {
                let! struct (_, failure) = failure "exec" "#!/bin/sh\n" File.Delete
                Expect.isTrue failure.IsOfWorker "the worker's"
            }

        unixTest "one that may not be executed any more"
        <| fun () ->
            task {
                let forbid (path: string) =
                    File.SetUnixFileMode(path, UnixFileMode.UserRead)

                let! struct (_, failure) = failure "exec" "#!/bin/sh\n" forbid
                Expect.isTrue failure.IsOfWorker "the worker's"
            }

        for name, text in
            [
                "ends with 1", "#!/bin/sh\nexit 1\n"
                "ends with 127", "#!/bin/sh\nexit 127\n"
                "misses a program itself", "#!/bin/sh\nnosuchprogram\n"
                "has a good env", "#!/usr/bin/env sh\nexit 127\n"
            ] do
            unixTest $"but one that {name} was started, and it may be the payload"
            <| fun () ->
                task {
                    let! struct (_, failure) = failure "exec" text ignore
                    Expect.isFalse failure.IsOfWorker "not the worker's"
                    Expect.isTrue failure.Retry "tried again"
                }

        unixTest "arguments that are too long are those of the pipeline, for every worker"
        <| fun () ->
            task {
                let bench = new Bench([ "printf" ])
                // Linux takes no single argument of more than 128 KiB.
                let long = String('x', 140_000)

                try
                    let! result = bench.RunAsync($"exec:printf {long}", Content.empty)
                    failtest $"it gave {result}"
                with :? StageException as error ->
                    Expect.isFalse error.IsOfWorker "not the worker's"
                    Expect.isFalse error.Retry "no other attempt"

                do! (bench :> IAsyncDisposable).DisposeAsync()
            }
    ]
