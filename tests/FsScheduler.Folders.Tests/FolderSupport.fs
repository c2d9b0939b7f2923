/// An input folder of a test.
module FsScheduler.Folders.Tests.FolderSupport

open System
open System.IO
open Expecto
open FsScheduler.Core
open FsScheduler.Folders
open FsScheduler.TestKit

let stampOf (folder: InputFolder) (text: string) =
    match folder.Examine text with
    | Present stamp -> stamp
    | other -> failwith $"{text}: {other}"

let inputFolder (temp: TempFolder) =
    Directory.CreateDirectory(temp.At "in") |> ignore
    let folder = InputFolder(temp.At "in")
    folder.Refresh() |> ignore
    folder

let linuxTest label run =
    test label {
        if not (OperatingSystem.IsLinux()) then
            skiptest "asks Linux for ctime, inodes or leases"

        use temp = new TempFolder()
        run temp (inputFolder temp)
    }

/// What is there in a folder, hidden names too.
let left (folder: string) =
    [
        for path in
            Directory.EnumerateFileSystemEntries(
                folder,
                "*",
                EnumerationOptions(AttributesToSkip = enum 0)
            ) -> nonNull (Path.GetFileName path)
    ]
    |> List.sort
