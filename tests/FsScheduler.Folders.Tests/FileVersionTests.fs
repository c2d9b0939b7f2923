/// What makes a file another version of an input.
module FsScheduler.Folders.Tests.FileVersionTests

open System
open System.IO
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Folders.Tests.FolderSupport

let private versions =
    let replacements = [
        "renamed over it, with its size and time", "printf new > b; touch -r a.txt b; mv b a.txt"
        "written into it, with its time put back",
        "touch -r a.txt t; printf new > a.txt; touch -r t a.txt; rm t"
        "unpacked over it with fixed times",
        "mkdir d; printf new > d/a.txt; touch -r a.txt d/a.txt; tar cf t.tar -C d a.txt; tar xf t.tar; rm -r d t.tar"
    ]

    [
        for what, command in replacements do
            linuxTest $"other bytes, {what}, are another version" (fun temp folder ->
                temp.Write("in/a.txt", "old")
                // tar knows whole seconds.
                File.SetLastWriteTimeUtc(temp.At "in/a.txt", DateTime(2026, 1, 2, 3, 4, 5))
                let stamp = stampOf folder "a.txt"
                shell (temp.At "in") command
                let found = stampOf folder "a.txt"
                Expect.equal "as large" stamp.size found.size
                Expect.equal "as old" stamp.modified found.modified
                Expect.isFalse "another" (FileVersion.isSame stamp found)

                Expect.equal
                    "not read as the old one"
                    (Error Changed)
                    (InputFile.tryRead folder (name "a.txt") stamp)

                for what in [ Move; Delete ] do
                    Expect.equal "left" (Error Changed) (finish what folder stamp)

                Expect.equal "there" "new" (File.ReadAllText(temp.At "in/a.txt")))

        linuxTest "another target of a link is another version" (fun temp folder ->
            temp.Write("in/b", "old")
            temp.Write("in/c", "new")
            shell (temp.At "in") "touch -r b c; ln -s b a.txt"
            let stamp = stampOf folder "a.txt"
            shell (temp.At "in") "ln -sf c a.txt"
            Expect.isFalse "another" (FileVersion.isSame stamp (stampOf folder "a.txt"))
            Expect.equal "left" (Error Changed) (finish Delete folder stamp)
            Expect.equal "there" [ "a.txt"; "b"; "c" ] (left (temp.At "in")))

        linuxTest "a change of rights or names alone counts as another version" (fun temp folder ->
            for command in [ "chmod 600 a.txt"; "ln a.txt b"; "mv a.txt c; mv c a.txt" ] do
                temp.Write("in/a.txt", "old")
                let stamp = stampOf folder "a.txt"
                shell (temp.At "in") command
                Expect.isFalse command (FileVersion.isSame stamp (stampOf folder "a.txt")))

        linuxTest
            "a file that has other names is finished under one of them, and stays the version that it was under the others"
            (fun temp folder ->
                for what in [ Move; Delete ] do
                    temp.Write("in/a.txt", "a")
                    shell (temp.At "in") "rm -f b c; ln a.txt b; ln a.txt c"
                    let stamp = stampOf folder "b"
                    Expect.equal "done" (Ok()) (finish what folder (stampOf folder "a.txt"))
                    Expect.isTrue "the others" (InputFile.isCurrent folder (name "b") stamp)

                    let finishOther file =
                        FinishedInput.finish folder what (name file) stamp

                    Expect.equal "another" (Ok()) (finishOther "b")
                    Expect.isTrue "the last" (InputFile.isCurrent folder (name "c") stamp)
                    shell (temp.At "in") "touch -r c t; printf b > c; touch -r t c; rm t"
                    Expect.isFalse "written" (InputFile.isCurrent folder (name "c") stamp))

        linuxTest
            "a version that is nowhere to be seen is out of sight, not replaced"
            (fun temp folder ->
                temp.Write("in/a.txt", "a")
                let stamp = stampOf folder "a.txt"

                let state () =
                    InputFile.stateOf folder (name "a.txt") stamp

                Expect.equal "there" InputState.Current (state ())
                File.Delete(temp.At "in/a.txt")
                Expect.equal "gone" InputState.OutOfSight (state ())
                temp.Write("in/a.txt", "other")
                Expect.equal "another" InputState.Replaced (state ()))

        test "what was remembered without ctime and inode agrees with any" {
            let whole: FileVersion = { size = 1L<B>; modified = 2L; changed = 3L; inode = 4L }
            let older = FileVersion.ofTime 1L<B> 2L
            Expect.isTrue "older journal" (FileVersion.isSame older whole)
            Expect.isFalse "not the other way round" (FileVersion.isSame whole older)
            Expect.isFalse "size" (FileVersion.isSame { older with size = 2L<B> } whole)
            Expect.isFalse "time" (FileVersion.isSame { older with modified = 3L } whole)
            Expect.isFalse "ctime" (FileVersion.isSame { whole with changed = 5L } whole)
            Expect.isFalse "inode" (FileVersion.isSame { whole with inode = 5L } whole)
            Expect.isTrue "renamed" (FileVersion.isSameRenamed { whole with changed = 5L } whole)
            Expect.isFalse "renamed" (FileVersion.isSameRenamed { whole with inode = 5L } whole)
        }

        test "a file from before the year 1, or from after 9999, is read, moved and deleted" {
            withOtherFileSystem (fun root ->
                let folder = InputFolder root
                folder.Refresh() |> ignore

                for time in [ "-99999999999"; "999999999999"; "9000000000000000000" ] do
                    for what in [ Move; Delete ] do
                        shell root $"printf x > a.txt; touch -d @{time} a.txt"
                        let stamp = stampOf folder "a.txt"
                        let bytes = InputFile.tryRead folder (name "a.txt") stamp
                        Expect.equal time (Ok "x"B) bytes
                        Expect.isTrue time (InputFile.isCurrent folder (name "a.txt") stamp)
                        SharedFileVersion.ofVersion stamp |> ignore
                        Expect.equal time (Ok()) (finish what folder stamp)
                        Expect.isFalse "gone" (File.Exists(root + "/a.txt")))
        }

        test "a file from after 9999 is moved to another file system" {
            use temp = new TempFolder()

            withOtherFileSystem (fun root ->
                let folder = InputFolder root
                folder.Refresh() |> ignore
                File.CreateSymbolicLink(root + "/.processados", temp.Path) |> ignore
                shell root "printf x > a.txt; touch -d @999999999999 a.txt"
                Expect.equal "moved" (Ok()) (finish Move folder (stampOf folder "a.txt"))
                Expect.equal "there" [ "a.txt" ] (left temp.Path))
        }
    ]

[<Tests>]
let tests = versionTests versions
