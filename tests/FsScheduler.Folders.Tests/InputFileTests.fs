module FsScheduler.Folders.Tests.InputFileTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Folders.Tests.FolderSupport

/// The folder of inputs inside `temp`, with something outside it.
let private inputFolder (temp: TempFolder) =
    temp.Write("secret/key.txt", "secret")
    Directory.CreateDirectory(temp.At "in/d") |> ignore
    let folder = InputFolder(temp.At "in")
    Expect.isTrue "it is there" (folder.Refresh())
    folder

let private listed (listing: Listing voption) =
    let listing = listing.Value

    List.sort [ for struct (name, _) in listing.files -> string name ],
    Map [ for struct (path, refusal) in listing.refused -> path, refusal ]

let private scanning = [
    test "a scan lists subfolders and leaves ignored names out" {
        use temp = new TempFolder()
        let folder = inputFolder temp

        for file in
            [
                "a.txt"
                "d/b.txt"
                "d/e/é.txt"
                ".hidden"
                ".git/x"
                "c.tmp"
                "d/c.PART"
                "x.crdownload"
            ] do
            temp.Write("in/" + file, file)

        let files, refused = listed (Scanner.scan folder "")
        Expect.equal "whole names" [ "a.txt"; "d/b.txt"; "d/e/é.txt" ] files
        Expect.isEmpty "nothing wrong" refused

        Expect.equal
            "only a subfolder"
            [ "d/b.txt"; "d/e/é.txt" ]
            (fst (listed (Scanner.scan folder "d")))

        Expect.isTrue "a folder that is not there" (Scanner.scan folder "nowhere").IsNone
    }

    testCase "links are judged by where they really lead" (fun () ->
        use temp = new TempFolder()
        let folder = inputFolder temp
        temp.Write("in/real.txt", "real")
        temp.Link("in/inside", temp.At "in/real.txt")
        temp.Link("in/d/inside too", "../real.txt")
        temp.Link("in/outside", temp.At "secret/key.txt")
        temp.Write("in side/key.txt", "another secret")
        temp.Link("in/next door", temp.At "in side/key.txt")
        temp.Link("in/d/up and out", "../../secret/key.txt")
        temp.Link("in/twice", "outside")
        temp.Link("in/folder", temp.At "secret")
        temp.Link("in/home", "d")
        temp.Link("in/d/self", "..")
        temp.Link("in/through a folder", "folder/key.txt")
        temp.Link("in/broken", "nothing")
        temp.Link("in/round", "round")
        temp.Link("in/device", "/dev/null")
        let files, refused = listed (Scanner.scan folder "")
        Expect.equal "inside" [ "d/inside too"; "inside"; "real.txt" ] files

        let secret = LinkOutside(temp.At "secret/key.txt")

        let expected = [
            "outside", secret
            "next door", LinkOutside(temp.At "in side/key.txt")
            "d/up and out", secret
            "twice", secret
            "through a folder", secret
            "folder", LinkOutside(temp.At "secret")
            "home", LinkToFolder
            "d/self", LinkToFolder
            "broken", BrokenLink
            "round", BrokenLink
            "device", LinkOutside "/dev/null"
        ]

        Expect.equal "refused" (Map expected) refused

        for path, refusal in expected do
            Expect.equal $"{path}, portably" (Refused refusal) (folder.Examine(path, false))

        for path in files do
            match folder.Examine(path, true) with
            | Present stamp ->
                let portable = FileVersion.ofTime stamp.size stamp.modified
                Expect.equal $"{path}, portably" (Present portable) (folder.Examine(path, false))
            | look -> failtest $"{path}: {look}")

    testCase "the folder itself may be a link" (fun () ->
        use temp = new TempFolder()
        inputFolder temp |> ignore
        temp.Write("in/a.txt", "a")
        temp.Link("in/b.txt", "a.txt")
        temp.Link("link", "in")
        let folder = InputFolder(temp.At "link")
        Expect.isTrue "found" (folder.Refresh())
        Expect.equal "real" (temp.At "in") folder.RealPath
        Expect.equal "listed" [ "a.txt"; "b.txt" ] (fst (listed (Scanner.scan folder "")))
        let bytes = InputFile.tryRead folder (name "b.txt") (stampOf folder "b.txt")
        Expect.equal "read" (Ok "a"B) bytes)

    testCase "what is not a file, or has no name for a task, is refused" (fun () ->
        if OperatingSystem.IsLinux() then
            use temp = new TempFolder()
            let folder = inputFolder temp
            let long = String('é', 101)
            temp.Write("in/" + long, "x")
            temp.Write("in/line\nbreak", "x")
            shell (temp.At "in") "mkfifo fifo; printf x > \"$(printf 'not\\377utf8')\""
            let files, refused = listed (Scanner.scan folder "")
            // .NET cannot name, and so not delete, what is not UTF-8.
            shell temp.Path "rm -r in"
            Expect.isEmpty "nothing to take" files
            Expect.equal "the fifo" (Some NotRegular) (Map.tryFind "fifo" refused)
            Expect.equal "four in all" 4 refused.Count

            for path in [ long; "line\nbreak"; "not\uFFFDutf8" ] do
                match Map.tryFind path refused with
                | Some(BadName _) -> ()
                | other -> failtest $"{path}: {other}")

    testCase "ten thousand files are listed in a moment" (fun () ->
        use temp = new TempFolder()
        let folder = inputFolder temp

        for file in 1..10_000 do
            IO.File.WriteAllBytes(temp.At $"in/d/{file}", [||])

        Expect.hasLength "all" 10_000 (fst (listed (Scanner.scan folder ""))))
]

/// Both ways of reading: Linux's own, and that of every system.
let private reading = [
    for linux in [ true; false ] do
        if not linux || OperatingSystem.IsLinux() then
            let label text =
                if linux then text + " (Linux)" else text + " (portable)"

            testCase (label "an input is read at the version that was taken") (fun () ->
                use temp = new TempFolder()
                let folder = inputFolder temp
                temp.Write("in/d/a.txt", "before")
                temp.Write("in/empty", "")
                let file = name "d/a.txt"
                let stamp = stampOf folder "d/a.txt"

                let read stamp =
                    InputFile.readOn linux folder file stamp

                Expect.equal "whole" (Ok "before"B) (read stamp)

                Expect.equal
                    "empty"
                    (Ok [||])
                    (InputFile.readOn linux folder (name "empty") (stampOf folder "empty"))

                Expect.equal "another size" (Error Changed) (read { stamp with size = 5L<B> })
                let touched = { stamp with modified = stamp.modified + 10L }
                Expect.equal "another mtime" (Error Changed) (read touched)
                Expect.isTrue "current" (InputFile.isCurrent folder file stamp)
                temp.Write("in/d/a.txt", "behind")
                Expect.equal "same size, written since" (Error Changed) (read stamp)
                Expect.isFalse "not current" (InputFile.isCurrent folder file stamp)
                IO.File.Delete(temp.At "in/d/a.txt")
                Expect.equal "deleted" (Error Gone) (read stamp)
                Directory.Delete(temp.At "in/d")
                Expect.equal "with its folder" (Error Gone) (read stamp))

            testCase (label "an input is opened at the version that was taken") (fun () ->
                use temp = new TempFolder()
                let folder = inputFolder temp
                temp.Write("in/big", String('x', 200_000))
                let stamp = stampOf folder "big"

                match InputFile.openOn linux folder (name "big") stamp with
                | Error trouble -> failtest trouble.Message
                | Ok handle ->
                    use stream = new FileStream(handle, FileAccess.Read)
                    use text = new StreamReader(stream)
                    Expect.equal "all of it" 200_000 (text.ReadToEnd().Length)

                IO.File.AppendAllText(temp.At "in/big", "y")

                match InputFile.openOn linux folder (name "big") stamp with
                | Error trouble -> Expect.equal "written since" Changed trouble
                | Ok _ -> failtest "opened")

            testCase (label "what was put in place of an input is not read") (fun () ->
                use temp = new TempFolder()
                let folder = inputFolder temp
                temp.Write("in/a.txt", "secret")
                let secret = stampOf (InputFolder(temp.At "secret")) "key.txt"
                IO.File.Delete(temp.At "in/a.txt")
                temp.Link("in/a.txt", temp.At "secret/key.txt")

                let read () =
                    InputFile.readOn linux folder (name "a.txt") secret

                let outside = NotReadable(LinkOutside(temp.At "secret/key.txt"))
                Expect.equal "a link out" (Error outside) (read ())
                IO.File.Delete(temp.At "in/a.txt")
                Directory.CreateDirectory(temp.At "in/a.txt") |> ignore
                Expect.equal "a folder" (Error(NotReadable NotRegular)) (read ())
                Directory.Delete(temp.At "in/a.txt")

                if linux then
                    shell (temp.At "in") "mkfifo a.txt"

                    Expect.equal
                        "a fifo, without waiting"
                        (Error(NotReadable NotRegular))
                        (read ()))

    testCase "a folder that was swapped for a link out is not read through" (fun () ->
        if OperatingSystem.IsLinux() then
            use temp = new TempFolder()
            let folder = inputFolder temp
            Directory.Delete(temp.At "in/d")
            temp.Link("in/d", temp.At "secret")
            let secret = stampOf (InputFolder(temp.At "secret")) "key.txt"
            let outside = Error(NotReadable(LinkOutside(temp.At "secret/key.txt")))
            Expect.equal "no scan would list it" Absent (folder.Examine "d/key.txt")
            Expect.equal "read" outside (InputFile.tryRead folder (name "d/key.txt") secret))

    testCase "a whole read of a big input is refused" (fun () ->
        let folder = InputFolder "nowhere"

        let read () =
            InputFile.tryRead folder (name "a") (FileVersion.ofTime 65_537L<B> 0L) |> ignore

        Expect.throwsT<ArgumentOutOfRangeException> "a bug of the caller" read)
]

let private finishing =
    let finish what (folder: InputFolder) file =
        FinishedInput.finish folder what (name file) (stampOf folder file)

    let processed (temp: TempFolder) =
        let root = temp.At "in/.processados"

        if Directory.Exists root then
            [
                for file in
                    Directory.EnumerateFiles(
                        root,
                        "*",
                        EnumerationOptions(RecurseSubdirectories = true, AttributesToSkip = enum 0)
                    ) -> Path.GetRelativePath(root, file), IO.File.ReadAllText file
            ]
            |> List.sort
        else
            []

    let left (temp: TempFolder) =
        [
            for file in
                Directory.EnumerateFiles(
                    temp.At "in",
                    "*",
                    EnumerationOptions(AttributesToSkip = enum 0)
                ) -> nonNull (Path.GetFileName file)
        ]
        |> List.sort

    [
        test "a finished input is kept, moved or deleted" {
            use temp = new TempFolder()
            let folder = inputFolder temp
            temp.Write("in/a.txt", "a")
            temp.Write("in/d/a.txt", "d/a")
            Expect.equal "kept" (Ok()) (finish Keep folder "a.txt")
            Expect.equal "there" [ "a.txt" ] (left temp)
            Expect.equal "moved" (Ok()) (finish Move folder "a.txt")
            Expect.equal "moved too" (Ok()) (finish Move folder "d/a.txt")
            temp.Write("in/a.txt", "again")
            Expect.equal "moved again" (Ok()) (finish Move folder "a.txt")
            let all = [ "a.1.txt", "again"; "a.txt", "a"; "d/a.txt", "d/a" ]
            Expect.equal "each kept" all (processed temp)
            temp.Write("in/b.txt", "b")
            Expect.equal "deleted" (Ok()) (finish Delete folder "b.txt")
            Expect.isEmpty "nothing left" (left temp)
            Expect.isEmpty "nor an input" (fst (listed (Scanner.scan folder "")))
        }

        test "a newer version is left in its place" {
            use temp = new TempFolder()
            let folder = inputFolder temp

            for what in [ Move; Delete ] do
                temp.Write("in/a.txt", "old")
                let stamp = stampOf folder "a.txt"
                IO.File.WriteAllText(temp.At "in/a.txt", "new")
                let outcome = FinishedInput.finish folder what (name "a.txt") stamp
                Expect.equal $"{what}" (Error Changed) outcome
                Expect.equal "still there" "new" (IO.File.ReadAllText(temp.At "in/a.txt"))
                IO.File.Delete(temp.At "in/a.txt")
                let outcome = FinishedInput.finish folder what (name "a.txt") stamp
                Expect.equal $"{what}" (Error Gone) outcome

            Expect.isEmpty "nothing was moved" (processed temp)
        }

        test "what was replaced after the look is put back" {
            use temp = new TempFolder()
            let folder = inputFolder temp

            for step in [ FinishedInput.move; FinishedInput.delete ] do
                temp.Write("in/a.txt", "old")
                let stamp = stampOf folder "a.txt"
                IO.File.WriteAllText(temp.At "in/a.txt", "newer")
                Expect.equal "told" (Error Changed) (step folder (name "a.txt") stamp)
                Expect.equal "in its place" "newer" (IO.File.ReadAllText(temp.At "in/a.txt"))
                Expect.equal "alone" [ "a.txt" ] (left temp)

            Expect.isEmpty "nothing was moved" (processed temp)
        }

        test "what is replaced while it is finished survives" {
            use temp = new TempFolder()
            let folder = inputFolder temp
            let rounds = 200

            // Renames newer versions over the file while another thread finishes whatever version it saw.
            for what in [ Move; Delete ] do
                let writer =
                    Task.Run(fun () ->
                        for round in 1..rounds do
                            temp.Write("new", string round)
                            IO.File.Move(temp.At "new", temp.At "in/a.txt", overwrite = true))

                while not writer.IsCompleted do
                    match folder.Examine "a.txt" with
                    | Present stamp ->
                        FinishedInput.finish folder what (name "a.txt") stamp |> ignore
                    | _ -> ()

                writer.Wait()
                let isLast (_, text: string) = text = string rounds

                let inPlace =
                    IO.File.Exists(temp.At "in/a.txt")
                    && isLast ("", IO.File.ReadAllText(temp.At "in/a.txt"))

                if what = Move then
                    Expect.isTrue
                        "the last is there or was processed"
                        (inPlace || List.exists isLast (processed temp))

                Expect.all "no hidden leftover" (fun (file: string) -> file = "a.txt") (left temp)
                IO.File.Delete(temp.At "in/a.txt")
        }

        test "a link is finished, not its target" {
            use temp = new TempFolder()
            let folder = inputFolder temp
            temp.Write("in/a.txt", "a")
            temp.Link("in/link", "a.txt")
            temp.Link("in/other", "a.txt")
            Expect.equal "moved" (Ok()) (finish Move folder "link")
            Expect.equal "deleted" (Ok()) (finish Delete folder "other")
            Expect.equal "the target stays" [ "a.txt" ] (left temp)
        }
    ]

[<Tests>]
let tests = testList "InputFileTests" (scanning @ reading @ finishing)
