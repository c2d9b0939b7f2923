/// Files that a worker shares: what is read and made in them, and what is not.
module FsScheduler.Execution.Tests.SharedFoldersTests

open System
open System.IO
open System.Runtime.InteropServices
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Execution
open FsScheduler.TestKit

let files (source: string) start size (target: string) : SharedFiles = {
    source = source
    start = start * 1L<B>
    size = size * 1L<B>
    target = target
    version = ValueNone
}

let private readAll (stream: Stream) =
    use stream = stream
    use copy = new MemoryStream()
    stream.CopyTo copy
    Encoding.UTF8.GetString(copy.ToArray())

let private create (shared: SharedFolders) named =
    let struct (path, file) = shared.Create named
    file.Dispose()
    Expect.isTrue (File.Exists path) "where it is"

[<DllImport("libc")>]
extern int private renameat2(int from, string path, int into, string other, uint flags)

/// At once, so that each is always there.
let private exchange path other =
    let here, RENAME_EXCHANGE = -100, 2u

    if renameat2 (here, path, here, other, RENAME_EXCHANGE) <> 0 then
        failwith "they do not change places"

let private refuses (reason: string) (action: unit -> 'result) =
    try
        action () |> ignore
        failtest "it was not refused"
    with
    | :? IOException
    | :? UnauthorizedAccessException as error -> Expect.stringContains error.Message reason "why"

[<Tests>]
let tests =
    testList "shared folders" [
        test "give a range of a file, and make files" {
            use folder = new TempFolder()
            folder.Write("a", "0123456789")
            let shared = SharedFolders [ folder.Path ]
            let named = files (folder.At "a") 2L 5L (folder.At "b")
            Expect.equal (readAll (shared.Open named)) "23456" "the range"
            create shared named
            Expect.isTrue (File.Exists(folder.At "b")) "made"
        }

        test "give what a link inside leads to, inside" {
            use folder = new TempFolder()
            folder.Write("real/a", "0123456789")
            folder.Link("link", folder.At "real")
            let shared = SharedFolders [ folder.At "link" ]
            let named = files (folder.At "link/a") 0L 3L (folder.At "link/b")
            Expect.equal (readAll (shared.Open named)) "012" "the range"
            create shared named
            Expect.isTrue (File.Exists(folder.At "real/b")) "made"
        }

        test "read nothing that lies elsewhere, however it is named" {
            use folder = new TempFolder()
            folder.Write("secret", "secret")
            folder.Write("shared2/secret", "secret")
            folder.Write("shared/a", "a")
            folder.Link("shared/link", folder.At "secret")
            let shared = SharedFolders [ folder.At "shared" ]

            for path in
                [
                    folder.At "secret"
                    folder.At "shared/../secret"
                    folder.At "shared2/secret"
                    folder.At "shared/link"
                    folder.At "shared"
                    Path.GetRelativePath(Environment.CurrentDirectory, folder.At "shared/a")
                ] do
                refuses "--shared-files" (fun () -> shared.Open(files path 0L 1L ""))

            refuses "gone" (fun () -> shared.Open(files (folder.At "shared/gone") 0L 1L ""))
            refuses "" (fun () -> shared.Open(files "" 0L 1L ""))

            refuses "--shared-files" (fun () ->
                (SharedFolders []).Open(files (folder.At "shared/a") 0L 1L ""))
        }

        test "do not wait for a fifo, and read no folder" {
            use folder = new TempFolder()
            Directory.CreateDirectory(folder.At "folder") |> ignore
            let shared = SharedFolders [ folder.Path ]
            refuses "--shared-files" (fun () -> shared.Open(files (folder.At "folder") 0L 1L ""))

            if OperatingSystem.IsLinux() then
                shell folder.Path "mkfifo fifo"
                refuses "--shared-files" (fun () -> shared.Open(files (folder.At "fifo") 0L 1L ""))
        }

        test "say so when a file is shorter than it should be" {
            use folder = new TempFolder()
            folder.Write("a", "0123456789")
            let shared = SharedFolders [ folder.Path ]
            refuses "byte 10" (fun () -> readAll (shared.Open(files (folder.At "a") 8L 5L "")))
        }

        test "give no other version than the one that is named, also while it is read" {
            use folder = new TempFolder()
            folder.Write("a", "0123456789")
            let time = DateTime(2026, 11, 24, 12, 0, 0, DateTimeKind.Utc)
            File.SetLastWriteTimeUtc(folder.At "a", time)
            let shared = SharedFolders [ folder.Path ]

            let version: SharedFileVersion = {
                length = 10L<B>
                modified = (time.Ticks - DateTime.UnixEpoch.Ticks) / 10L
            }

            let named version = { files (folder.At "a") 2L 5L "" with version = ValueSome version }

            Expect.equal (readAll (shared.Open(named version))) "23456" "the very one"
            refuses "version" (fun () -> shared.Open(named { version with length = 11L<B> }))

            refuses "version" (fun () ->
                shared.Open(named { version with modified = version.modified - 1L }))

            use reading = shared.Open(named version)
            Expect.equal (reading.ReadByte()) (int '2'B) "begun"
            File.SetLastWriteTimeUtc(folder.At "a", time.AddTicks 10L)
            refuses "version" (fun () -> readAll reading)
        }

        test "change nothing that is there, and make nothing elsewhere" {
            use folder = new TempFolder()
            folder.Write("shared/a", "a")
            Directory.CreateDirectory(folder.At "other") |> ignore
            folder.Link("shared/out", folder.At "other")
            folder.Link("shared/broken", folder.At "other/made")
            let shared = SharedFolders [ folder.At "shared" ]

            for target, reason in
                [
                    folder.At "shared/a", "exists"
                    folder.At "shared/broken", "exists"
                    folder.At "shared/out/b", "--shared-files"
                    folder.At "b", "--shared-files"
                    folder.At "shared/../b", "--shared-files"
                    folder.At "shared/none/b", "none"
                    "b", ""
                    "/", ""
                    "", ""
                ] do
                refuses reason (fun () -> shared.Create(files "" 0L 1L target))

            Expect.equal (File.ReadAllText(folder.At "shared/a")) "a" "as it was"
            Expect.isEmpty (Directory.GetFiles(folder.At "other")) "nothing elsewhere"
            Expect.isFalse (File.Exists(folder.At "b")) "nothing beside"
        }

        test "make nothing elsewhere while folders change places with links" {
            if OperatingSystem.IsLinux() then
                use folder = new TempFolder()
                let inside = Directory.CreateDirectory(folder.At "shared/in").FullName
                let outside = Directory.CreateDirectory(folder.At "outside").FullName
                folder.Link("shared/link", outside)
                let shared = SharedFolders [ folder.At "shared" ]
                let stop = new CancellationTokenSource()

                let changing =
                    Task.Run(fun () ->
                        while not stop.IsCancellationRequested do
                            exchange inside (folder.At "shared/link"))

                let mutable made = 0

                for number in 1..3_000 do
                    try
                        let named = files "" 0L 1L (Path.Combine(inside, string number))
                        let struct (_, file) = shared.Create named
                        file.Dispose()
                        made <- made + 1
                    with
                    | :? IOException
                    | :? UnauthorizedAccessException -> ()

                stop.Cancel()
                changing.Wait()
                Expect.isGreaterThan made 0 "some are made"
                Expect.isEmpty (Directory.GetFiles outside) "none elsewhere"
        }

        test "must be there" {
            use folder = new TempFolder()

            Expect.throwsT<DirectoryNotFoundException>
                (fun () -> SharedFolders [ folder.At "gone" ] |> ignore)
                "not there"
        }
    ]
