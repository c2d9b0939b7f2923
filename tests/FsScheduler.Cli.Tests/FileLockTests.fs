module FsScheduler.Cli.Tests.FileLockTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.Platform

let private letGo (lock': FileLock) = (lock' :> IDisposable).Dispose()

let private taken (result: Result<FileLock, LockRefusal>) =
    match result with
    | Ok lock' -> lock'
    | Error refusal -> failtest $"{refusal}"

let private isHeld (result: Result<FileLock, LockRefusal>) =
    match result with
    | Error HeldElsewhere -> true
    | Error(NoLocks reason) -> failtest $"no locks here: {reason}"
    | Ok lock' ->
        letGo lock'
        false

[<Tests>]
let tests =
    testList "the lock of a file" [
        test "is held once, and can be had again when it is let go" {
            use folder = new TempFolder()

            let take () =
                FileLock.TryTake(folder.At "lock", FileMode.OpenOrCreate)

            let first = taken (take ())
            Expect.isTrue (isHeld (take ())) "while the first has it"
            letGo first
            Expect.isFalse (isHeld (take ())) "afterwards"
        }

        test "is for its owner's eyes" {
            if OperatingSystem.IsWindows() then
                skiptest "modes are Unix's"

            use folder = new TempFolder()
            use _ = taken (FileLock.TryTake(folder.At "lock", FileMode.CreateNew))

            Expect.equal
                (File.GetUnixFileMode(folder.At "lock"))
                (UnixFileMode.UserRead ||| UnixFileMode.UserWrite)
                "whoever could open it could hold it"
        }

        test "keeps out those that lock as the runtime does, as earlier versions did" {
            use folder = new TempFolder()
            use _ = taken (FileLock.TryTake(folder.At "lock", FileMode.CreateNew))

            let asBefore () =
                (new FileStream(
                    folder.At "lock",
                    FileMode.OpenOrCreate,
                    FileAccess.ReadWrite,
                    FileShare.None
                ))
                    .Dispose()

            Expect.throwsT<IOException> asBefore "it is locked"
        }

        test "is not there where the path leads to nothing" {
            use folder = new TempFolder()

            Expect.throwsT<DirectoryNotFoundException>
                (fun () -> FileLock.TryTake(folder.At "a/lock", FileMode.Open) |> ignore)
                "no folder"

            Expect.throwsT<FileNotFoundException>
                (fun () -> FileLock.TryTake(folder.At "lock", FileMode.Open) |> ignore)
                "no file"
        }
    ]
