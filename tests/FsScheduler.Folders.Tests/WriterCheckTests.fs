/// Files that somebody writes or replaces are neither taken nor moved nor deleted.
module FsScheduler.Folders.Tests.WriterCheckTests

open System
open System.IO
open System.IO.MemoryMappedFiles
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

[<Tests>]
let tests = versionTests writers
