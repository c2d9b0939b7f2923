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

let finish what (folder: InputFolder) stamp =
    FinishedInput.finish folder what (name "a.txt") stamp

/// With a folder on a file system other than that of temporary files, which keeps any time of a file.
let withOtherFileSystem (run: string -> unit) =
    if not (Directory.Exists "/dev/shm") then
        skiptest "needs another file system: /dev/shm"

    let other = Directory.CreateDirectory $"/dev/shm/fss-{Guid.NewGuid()}"

    try
        run other.FullName
    finally
        other.Delete true

/// One test at a time: a child that another test starts has, until it runs its program, whatever is open for writing
/// here. A file that was just written would have a writer.
let versionTests (tests: Test list) =
    testSequenced (testList "file versions" tests)
