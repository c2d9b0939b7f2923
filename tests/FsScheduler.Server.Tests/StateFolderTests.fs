module FsScheduler.Server.Tests.StateFolderTests

open System
open System.IO
open Expecto
open FsScheduler.Server
open FsScheduler.TestKit

[<Tests>]
let tests =
    testList "the lock of a file" [
        test "of a folder is held though the file in it is deleted" {
            if not (OperatingSystem.IsLinux()) then
                skiptest "folders are locked on Linux"

            use folder = new TempFolder()
            use _ = new StateFolder(folder.Path)
            File.Delete(folder.At "lock")

            Expect.throwsT<IOException>
                (fun () -> (new StateFolder(folder.Path) :> IDisposable).Dispose())
                "a second scheduler is kept out"
        }

        test "of a state folder that is new comes with nothing to say: it was never open to others" {
            use folder = new TempFolder()
            use state = new StateFolder(folder.At "state")
            Expect.isNull state.Notice "made for its owner alone"
        }
    ]
