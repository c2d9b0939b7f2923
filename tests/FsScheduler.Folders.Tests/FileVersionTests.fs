module FsScheduler.Folders.Tests.FileVersionTests

open System
open System.IO
open System.IO.Hashing
open System.IO.MemoryMappedFiles
open System.Text
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Folders.Tests.FolderSupport

let private log = Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance

/// Holds `a.txt`, and looks at that.
let private heldTest label (look: HeldInput -> string -> unit) =
    linuxTest label (fun temp folder ->
        temp.Write("in/a.txt", "a")
        let path = temp.At "in/a.txt"

        match HeldInput.TryHold(path, stampOf folder "a.txt") with
        | Error trouble -> failtest $"{trouble}"
        | Ok held ->
            use held = held
            look held path)

let private finish what (folder: InputFolder) stamp =
    FinishedInput.finish folder what (name "a.txt") stamp

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
            if not (Directory.Exists "/dev/shm") then
                skiptest "needs a file system that keeps such times: /dev/shm"

            let root = Directory.CreateDirectory $"/dev/shm/fss-{Guid.NewGuid()}"

            try
                let folder = InputFolder root.FullName
                folder.Refresh() |> ignore

                for time in [ "-99999999999"; "999999999999"; "9000000000000000000" ] do
                    for what in [ Move; Delete ] do
                        shell root.FullName $"printf x > a.txt; touch -d @{time} a.txt"
                        let stamp = stampOf folder "a.txt"
                        let bytes = InputFile.tryRead folder (name "a.txt") stamp
                        Expect.equal time (Ok "x"B) bytes
                        Expect.isTrue time (InputFile.isCurrent folder (name "a.txt") stamp)
                        SharedFileVersion.ofVersion stamp |> ignore
                        Expect.equal time (Ok()) (finish what folder stamp)
                        Expect.isFalse "gone" (File.Exists(root.FullName + "/a.txt"))
            finally
                root.Delete true
        }

        test "a file from after 9999 is moved to another file system" {
            if not (Directory.Exists "/dev/shm") then
                skiptest "needs a file system that keeps such times: /dev/shm"

            use temp = new TempFolder()
            let root = Directory.CreateDirectory $"/dev/shm/fss-{Guid.NewGuid()}"

            try
                let folder = InputFolder root.FullName
                folder.Refresh() |> ignore
                File.CreateSymbolicLink(root.FullName + "/.processados", temp.Path) |> ignore
                shell root.FullName "printf x > a.txt; touch -d @999999999999 a.txt"
                Expect.equal "moved" (Ok()) (finish Move folder (stampOf folder "a.txt"))
                Expect.equal "there" [ "a.txt" ] (left temp.Path)
            finally
                root.Delete true
        }
    ]

let private writers = [
    linuxTest "a file that is open for writing is neither moved nor deleted" (fun temp folder ->
        let gate = WriterCheck(folder, Delete, log)

        for what in [ Move; Delete ] do
            temp.Write("in/a.txt", "half")
            let stamp = stampOf folder "a.txt"

            do
                use _ = File.Open(temp.At "in/a.txt", FileMode.Open, FileAccess.ReadWrite)
                Expect.isTrue "seen" (gate.HeldBack(name "a.txt").IsSome)

                match finish what folder (stampOf folder "a.txt") with
                | Error(BeingWritten _) -> ()
                | other -> failtest $"{what}: {other}"

            Expect.equal "alone" [ "a.txt" ] (left (temp.At "in"))
            Expect.isTrue "closed" (gate.HeldBack(name "a.txt").IsNone)
            Expect.equal "then" (Ok()) (finish what folder stamp)
            Directory.Delete(temp.At "in", true)
            Directory.CreateDirectory(temp.At "in") |> ignore)

    linuxTest "a file that is mapped for writing is not taken" (fun temp folder ->
        temp.Write("in/a.txt", "half")

        use map =
            MemoryMappedFile.CreateFromFile(temp.At "in/a.txt", FileMode.Open, null, 4L)

        use _ = map.CreateViewAccessor()
        let gate = WriterCheck(folder, Move, log)
        Expect.isTrue "seen" (gate.HeldBack(name "a.txt").IsSome))

    linuxTest "whoever reads a file, and what is kept, holds nothing back" (fun temp folder ->
        temp.Write("in/a.txt", "a")

        use _ =
            new FileStream(temp.At "in/a.txt", FileMode.Open, FileAccess.Read, FileShare.ReadWrite)

        let gate = WriterCheck(folder, Delete, log)
        Expect.isTrue "a reader" (gate.HeldBack(name "a.txt").IsNone)

        use _ =
            new FileStream(
                temp.At "in/a.txt",
                FileMode.Open,
                FileAccess.Write,
                FileShare.ReadWrite
            )

        let gate = WriterCheck(folder, Keep, log)
        Expect.isTrue "kept" (gate.HeldBack(name "a.txt").IsNone))

    linuxTest "who writes is said by name" (fun temp _ ->
        temp.Write("in/a.txt", "a")
        let path = temp.At "in/a.txt"

        let start =
            Diagnostics.ProcessStartInfo("/bin/sh", [ "-c"; $"exec sleep 60 >> '{path}'" ])

        use writer = nonNull (Diagnostics.Process.Start start)

        try
            let isOpen () =
                match OpenWriters.ofFile path with
                | Writer _ -> true
                | NoWriter
                | UnknownWriter _ -> false

            Expect.isTrue "opened" (Threading.SpinWait.SpinUntil(isOpen, 30_000))

            let said () =
                (OpenWriters.describe path).Contains $"process {writer.Id} ("

            Expect.isTrue "named" (Threading.SpinWait.SpinUntil(said, 30_000))
        finally
            writer.Kill()
            writer.WaitForExit())

    heldTest
        "a file that is opened for writing while it is held is no longer what was held"
        (fun held path ->
            Expect.isTrue "before" held.IsUntouched
            let opening = Threading.Tasks.Task.Run(fun () -> (File.OpenWrite path).Dispose())
            // It waits for the lease, which says so at once.
            let broken () = not held.IsUntouched
            Expect.isTrue "told" (Threading.SpinWait.SpinUntil(broken, 30_000))
            Expect.isFalse "by any name" (held.Is path)
            (held :> IDisposable).Dispose()
            opening.Wait())

    heldTest
        "a file whose time changes while it is held is no longer what was held"
        (fun held path ->
            Expect.isTrue "before" (held.Is path)
            File.SetLastWriteTimeUtc(path, DateTime(2026, 1, 2))
            Expect.isFalse "touched" (held.Is path))

    linuxTest
        "what replaces a file while that is finished is neither moved nor deleted"
        (fun temp folder ->
            // On a crowded machine all of the others may be replaced before they are moved.
            temp.Write("in/a.txt", "old")
            Expect.equal "undisturbed" (Ok()) (finish Move folder (stampOf folder "a.txt"))

            for what in [ Move; Delete ] do
                for round in 1..200 do
                    temp.Write("in/a.txt", "old")
                    let stamp = stampOf folder "a.txt"
                    File.WriteAllText(temp.At "new", "newer")
                    use start = new Threading.Barrier 2

                    let replacing =
                        Threading.Tasks.Task.Run(fun () ->
                            start.SignalAndWait()
                            Threading.Thread.SpinWait(round * 10)
                            File.Move(temp.At "new", temp.At "in/a.txt", overwrite = true))

                    start.SignalAndWait()
                    finish what folder stamp |> ignore
                    replacing.Wait()
                    Expect.equal "there" "newer" (File.ReadAllText(temp.At "in/a.txt"))

            for path in Directory.EnumerateFiles(temp.At "in/.processados") do
                Expect.equal "what was processed" "old" (File.ReadAllText path))
]

/// `.processados` leads to another file system.
let private elsewhere (temp: TempFolder) run =
    if not (Directory.Exists "/dev/shm") then
        skiptest "needs another file system: /dev/shm"

    let other = Directory.CreateDirectory $"/dev/shm/fss-{Guid.NewGuid()}"

    try
        temp.Link("in/.processados", other.FullName)
        run other.FullName
    finally
        other.Delete true

let private moves = [
    linuxTest
        "a move to another file system copies whole files, with their times and rights"
        (fun temp folder ->
            elsewhere temp (fun other ->
                temp.Write("in/a.txt", String('x', 300_000))
                shell (temp.At "in") "chmod 640 a.txt"
                let stamp = stampOf folder "a.txt"
                Expect.equal "moved" (Ok()) (finish Move folder stamp)
                Expect.equal "alone" [ "a.txt" ] (left other)
                Expect.equal "gone" [ ".processados" ] (left (temp.At "in"))
                let moved = FileInfo(other + "/a.txt")
                Expect.equal "whole" 300_000L moved.Length
                Expect.equal "its time" stamp.modified moved.LastWriteTimeUtc.Ticks

                let rights =
                    UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.GroupRead

                Expect.equal "its rights" rights moved.UnixFileMode
                temp.Write("in/a.txt", "next")
                Expect.equal "moved" (Ok()) (finish Move folder (stampOf folder "a.txt"))
                Expect.equal "beside it" [ "a.1.txt"; "a.txt" ] (left other)))

    linuxTest "a copy that was there before a kill is not made twice" (fun temp folder ->
        elsewhere temp (fun other ->
            temp.Write("in/a.txt", "a")
            File.WriteAllText(other + "/a.txt", "a")
            Expect.equal "moved" (Ok()) (finish Move folder (stampOf folder "a.txt"))
            Expect.equal "once" [ "a.txt" ] (left other)
            Expect.equal "gone" [ ".processados" ] (left (temp.At "in"))))

    linuxTest
        "what stands there under the name, as large and not the same, is no copy of it"
        (fun temp folder ->
            elsewhere temp (fun other ->
                temp.Write("in/a.txt", "a")
                File.WriteAllText(other + "/a.txt", "b")
                Expect.equal "moved" (Ok()) (finish Move folder (stampOf folder "a.txt"))
                Expect.equal "beside it" "a" (File.ReadAllText(other + "/a.1.txt"))
                Expect.equal "as it was" "b" (File.ReadAllText(other + "/a.txt"))))

    linuxTest "half a copy of a process that was killed is made anew" (fun temp folder ->
        elsewhere temp (fun other ->
            temp.Write("in/a.txt", "whole")
            let target = Encoding.UTF8.GetBytes(folder.Locate ".processados/a.txt")
            File.WriteAllText(other + $"/.moving-%016x{XxHash3.HashToUInt64 target}", "wh")
            Expect.equal "moved" (Ok()) (finish Move folder (stampOf folder "a.txt"))
            Expect.equal "alone" [ "a.txt" ] (left other)
            Expect.equal "whole" "whole" (File.ReadAllText(other + "/a.txt"))))

    linuxTest
        "a file that is opened for writing while it is copied stays, and nothing is left of the copy"
        (fun temp folder ->
            elsewhere temp (fun other ->
                do
                    use source = File.Create(temp.At "in/a.txt")
                    source.SetLength 32_000_000L

                /// Opens it as soon as there is something of the copy, and waits for the lease.
                let openWhenSeen (over: Threading.CancellationToken) () =
                    let mutable seen: string list = []

                    while seen.IsEmpty && not over.IsCancellationRequested do
                        seen <- left other

                    try
                        if not seen.IsEmpty then
                            (File.Open(temp.At "in/a.txt", FileMode.Open, FileAccess.Write))
                                .Dispose()
                    with :? FileNotFoundException ->
                        ()

                    seen

                let rec attempt triesLeft =
                    use over = new Threading.CancellationTokenSource()
                    let opening = Threading.Tasks.Task.Run(openWhenSeen over.Token)
                    let outcome = finish Move folder (stampOf folder "a.txt")
                    over.Cancel()

                    match outcome, opening.Result with
                    | Ok(), _ when triesLeft > 0 -> // It was opened too late, or not at all.
                        File.Move(other + "/a.txt", temp.At "in/a.txt", overwrite = true)
                        attempt (triesLeft - 1)
                    | outcome, seen -> outcome, seen

                let outcome, seen = attempt 20
                Expect.all "hidden" (fun (file: string) -> file.StartsWith ".moving-") seen
                Expect.equal "told" (Error Changed) outcome
                Expect.isEmpty "nothing" (left other)
                Expect.equal "there" [ ".processados"; "a.txt" ] (left (temp.At "in"))))

    linuxTest "a newer version is not moved to another file system, nor removed" (fun temp folder ->
        elsewhere temp (fun other ->
            temp.Write("in/a.txt", "old")
            let stamp = stampOf folder "a.txt"
            shell (temp.At "in") "touch -r a.txt t; printf new > a.txt; touch -r t a.txt; rm t"
            Expect.equal "told" (Error Changed) (FinishedInput.move folder (name "a.txt") stamp)
            Expect.isEmpty "nothing" (left other)
            Expect.equal "there" "new" (File.ReadAllText(temp.At "in/a.txt"))))

    linuxTest
        "where no folder can be made to move to, the file stays, and why is said"
        (fun temp folder ->
            temp.Write("in/.processados", "a file")
            temp.Write("in/d/b.txt", "b")

            match FinishedInput.finish folder Move (name "d/b.txt") (stampOf folder "d/b.txt") with
            | Error(Stuck reason) ->
                Expect.stringContains "which" (temp.At "in/.processados/d") reason
                Expect.isTrue "there" (IO.File.Exists(temp.At "in/d/b.txt"))
            | other -> failtest $"{other}")

    linuxTest "nothing is moved to where it would be an input again" (fun temp folder ->
        temp.Write("in/a.txt", "a")
        Directory.CreateDirectory(temp.At "in/d") |> ignore

        for target in [ "."; "d" ] do
            temp.Link("in/.processados", target)

            match finish Move folder (stampOf folder "a.txt") with
            | Error(Stuck reason) -> Expect.stringContains "why" "leads back" reason
            | other -> failtest $"{target}: {other}"

            IO.File.Delete(temp.At "in/.processados")

        Expect.equal "as it was" [ "a.txt"; "d" ] (left (temp.At "in")))

    linuxTest "a link is moved to another file system as a link" (fun temp folder ->
        elsewhere temp (fun other ->
            temp.Write("in/b", "b")
            temp.Link("in/a.txt", "b")
            Expect.equal "moved" (Ok()) (finish Move folder (stampOf folder "a.txt"))
            Expect.equal "a link" "b" (string (FileInfo(other + "/a.txt")).LinkTarget)
            Expect.equal "its target stays" [ ".processados"; "b" ] (left (temp.At "in"))))
]

// A child that another test starts has, until it runs its program, whatever is open for writing here: a file that was
// just written would have a writer.
[<Tests>]
let tests = testSequenced (testList "file versions" (versions @ writers @ moves))
