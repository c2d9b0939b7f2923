/// Inputs that could not be read, deleted or moved at once.
module FsScheduler.Server.Tests.UnfinishedInputTests

open System
open System.IO
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Folders
open FsScheduler.Folders.Tests.FolderSupport
open FsScheduler.Server
open FsScheduler.TestKit

let private log = Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance

let private unfinished = [
    linuxTest "what is done while its folder is away is deleted when it is back" (fun temp folder ->
        temp.Write("in/d/a.txt", "a")
        temp.Write("in/d/b.txt", "b")
        let unfinished = UnfinishedInputs(folder, Delete, log)

        for file in [ "d/a.txt"; "d/b.txt" ] do
            unfinished.Note(name file, stampOf folder file)

        Directory.Move(temp.At "in/d", temp.At "d")
        unfinished.Check()
        Directory.Move(temp.At "d", temp.At "in/d")
        temp.Write("in/d/b.txt", "another version")
        unfinished.Check()
        Expect.equal "the version that was done" [ "b.txt" ] (left (temp.At "in/d")))

    linuxTest "what could not be moved is moved when it can be" (fun temp folder ->
        temp.Write("in/.processados", "a file")
        temp.Write("in/a.txt", "a")
        let unfinished = UnfinishedInputs(folder, Move, log)
        unfinished.Note(name "a.txt", stampOf folder "a.txt")
        unfinished.Check()
        Expect.isTrue "not yet" (IO.File.Exists(temp.At "in/a.txt"))
        IO.File.Delete(temp.At "in/.processados")
        unfinished.Check()
        Expect.equal "moved" [ "a.txt" ] (left (temp.At "in/.processados")))
]

let private unread = [
    linuxTest
        "an input that could not be read is taken again as soon as it can be opened"
        (fun temp folder ->
            temp.Write("in/d/a.txt", "a")
            let stamp = stampOf folder "d/a.txt"
            let again = Collections.Generic.List<string>()

            let unread =
                UnreadInputs(folder, (fun name found -> again.Add $"{name} {found = stamp}"))

            // The folder above it is what is missing: the version of the file stays the same.
            Directory.Move(temp.At "in/d", temp.At "d")
            temp.Link("in/d", temp.At "d")
            unread.Note(name "d/a.txt", stamp)
            unread.Check()
            Expect.isEmpty "it leads outside" again
            File.Delete(temp.At "in/d")
            Directory.Move(temp.At "d", temp.At "in/d")
            unread.Check()
            Expect.sequenceEqual "readable" [ "d/a.txt True" ] again
            unread.Check()
            Expect.hasLength "once" 1 again)

    test "an error says whether it was the reading that failed" {
        Expect.isTrue "reading" (UnreadInputs.IsUnread (Failing "Permission denied").Message)
        Expect.isFalse "another" (UnreadInputs.IsUnread "invalid UTF-8 at byte 1")
    }
]

[<Tests>]
let tests = testSequenced (testList "file versions" (unfinished @ unread))
