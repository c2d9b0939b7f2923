/// How an input goes away: moved, to another file system too, and never a newer version.
module FsScheduler.Folders.Tests.FinishedInputTests

open System
open System.IO
open System.IO.Hashing
open System.Text
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Folders.Tests.FolderSupport

/// `.processados` leads to another file system.
let private elsewhere (temp: TempFolder) run =
    withOtherFileSystem (fun other ->
        temp.Link("in/.processados", other)
        run other)

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

[<Tests>]
let tests = versionTests moves
