/// Payloads and results as files that scheduler and worker both see.
module FsScheduler.Runtime.Tests.SharedFilesTests

open System
open System.Collections.Generic
open System.IO
open System.Runtime.InteropServices
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Runtime
open FsScheduler.Runtime.Files
open FsScheduler.Runtime.Tests.FileSupport
open FsScheduler.Runtime.Tests.WireSupport
open FsScheduler.Runtime.Tests.WorkerTests

let private utf8 (text: string) = Encoding.UTF8.GetBytes text

let private files (source: string) start size (target: string) : SharedFiles = {
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

let private folders =
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

            let version: FileVersion = {
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

let private share (peer: Peer) task stages (named: SharedFiles) =
    peer.Send(
        $"""{{"type":"PROCESS","task":{task},"attempt":1,"name":"a.txt","stages":[{stages}],"timeoutMs":60000,"from":"{named.source}","start":{named.start},"size":{named.size},"to":"{named.target}"}}"""
    )

let private sharing (folder: TempFolder) (fake: FakeScheduler) = {
    options fake.Address with
        sharedFolders = [ folder.Path ]
}

let private told (result: JsonElement) = [
    for field in [ "ok"; "stored"; "unshared"; "retry" ] -> text result field
]

let private workers =
    testList "a worker" [
        testTask "says whether it shares files" {
            use folder = new TempFolder()
            use fake = new FakeScheduler()

            for own, expected in [ options fake.Address, ""; sharing folder fake, "True" ] do
                use _ = new Running(own)
                let! (peer: Peer) = fake.AcceptAsync()
                let! (hello: JsonElement) = peer.ReadJson()
                Expect.equal (text hello "sharedFiles") expected "sharedFiles"
        }

        testTask "reads its range and writes its result where it is told" {
            use folder = new TempFolder()
            folder.Write("a", "ABCDEFGHIJ")
            use fake = new FakeScheduler()
            use _ = new Running(sharing folder fake)
            let! (peer: Peer) = fake.WelcomeAsync welcome
            do! share peer 1 "\"lower\"" (files (folder.At "a") 2L 5L (folder.At "b"))
            let! struct (answer, bytes) = result peer
            Expect.equal (told answer) [ "True"; "5"; ""; "" ] "stored"
            Expect.isEmpty bytes "nothing travels"
            Expect.equal (File.ReadAllText(folder.At "b")) "cdefg" "the result"
        }

        testTask "gives functions the payload as ever" {
            use folder = new TempFolder()
            folder.Write("a", "ABCDEFGHIJ")
            use fake = new FakeScheduler()

            use _ =
                new Running(
                    {
                        sharing folder fake with
                            functions = [ "own", StageFunction.ofText (fun text -> text + "!") ]
                    }
                )

            let! (peer: Peer) = fake.WelcomeAsync welcome
            do! share peer 1 "\"own\",\"lower\"" (files (folder.At "a") 2L 5L (folder.At "b"))
            let! struct (answer, bytes) = result peer
            Expect.equal (told answer) [ "True"; ""; ""; "" ] "a small result travels"
            Expect.equal bytes "cdefg!"B "the result"
            Expect.isFalse (File.Exists(folder.At "b")) "and leaves nothing"
        }

        testTask "stores a large result of a program" {
            use folder = new TempFolder()
            let size = 9_000_017 // of no other file
            let content = String('A', size) + "B"
            folder.Write("a", content)
            use fake = new FakeScheduler()
            use _ = new Running({ sharing folder fake with allowExec = [ "cat" ] })
            let! (peer: Peer) = fake.WelcomeAsync welcome
            do! share peer 1 "\"exec:cat\"" (files (folder.At "a") 1L (int64 size) (folder.At "b"))
            let! struct (answer, _) = result peer
            Expect.equal (told answer) [ "True"; string size; ""; "" ] "stored"
            Expect.equal (File.ReadAllText(folder.At "b")) (content.Substring 1) "the result"

            let own =
                Directory.GetDirectories(Path.GetTempPath(), "fs-worker-*")
                |> Seq.collect (fun folder ->
                    try
                        Directory.GetFiles folder
                    with :? DirectoryNotFoundException -> // another worker's, which has ended
                        [||])
                |> Seq.map FileInfo
                |> Seq.filter (fun file -> file.Exists && file.Length = int64 size)

            Expect.isEmpty own "the worker has it no longer"
        }

        testTask "says what fails as ever, and leaves no half result" {
            use folder = new TempFolder()
            folder.Write("a", "ABC\n")
            File.AppendAllBytes(folder.At "a", [| 0xFFuy |])
            use fake = new FakeScheduler()
            use _ = new Running(sharing folder fake)
            let! (peer: Peer) = fake.WelcomeAsync welcome
            do! share peer 1 "\"lower\"" (files (folder.At "a") 0L 5L (folder.At "b"))
            let! struct (answer, _) = result peer
            Expect.equal (told answer) [ "False"; ""; ""; "False" ] "failed"
            Expect.stringContains (text answer "error") "UTF-8" "why"
            Expect.isFalse (File.Exists(folder.At "b")) "no half result"
        }

        testTask "that cannot use the files says so, of each stage and each reason" {
            use folder = new TempFolder()
            use other = new TempFolder()
            folder.Write("a", "ABCDEFGHIJ")
            folder.Write("there", "there")
            other.Write("a", "ABCDEFGHIJ")
            use fake = new FakeScheduler()

            use _ =
                new Running(
                    { sharing folder fake with functions = [ "own", StageFunction.ofText id ] }
                )

            let! (peer: Peer) = fake.WelcomeAsync welcome
            let good, target = folder.At "a", folder.At "b"

            for stages in [ "\"lower\""; "\"own\"" ] do
                for named, reason in
                    [
                        files (other.At "a") 0L 5L target, "--shared-files"
                        files (folder.At "gone") 0L 5L target, "gone"
                        files good 8L 5L target, "byte 10"
                    ] do
                    do! share peer 1 stages named
                    let! struct (answer, _) = result peer
                    Expect.equal (told answer) [ "False"; ""; "True"; "" ] "unshared"
                    Expect.stringContains (text answer "error") reason "why"

            for target in [ folder.At "there"; other.At "b" ] do
                do! share peer 1 "\"lower\"" (files good 0L 5L target)
                let! struct (answer, _) = result peer
                Expect.equal (told answer) [ "False"; ""; "True"; "" ] "unshared"

            Expect.equal (File.ReadAllText(folder.At "there")) "there" "as it was"
            Expect.isFalse (File.Exists(other.At "b")) "nothing elsewhere"
            Expect.isFalse (File.Exists target) "no half result"
        }

        testTask "that was not told to share anything refuses" {
            use folder = new TempFolder()
            folder.Write("a", "A")
            use fake = new FakeScheduler()
            use _ = new Running(options fake.Address)
            let! (peer: Peer) = fake.WelcomeAsync welcome
            do! share peer 1 "\"lower\"" (files (folder.At "a") 0L 1L (folder.At "b"))
            let! struct (answer, _) = result peer
            Expect.equal (told answer) [ "False"; ""; "True"; "" ] "unshared"
        }

        testTask "takes away what was cancelled after it was stored" {
            use folder = new TempFolder()
            folder.Write("a", "ABC")
            use fake = new FakeScheduler()
            let go = new ManualResetEventSlim()

            let slow =
                StageFunction(fun call ->
                    go.Wait()
                    Task.FromResult(ReadOnlyMemory(Array.replicate 5_000_000 'x'B)))

            use running = new Running({ sharing folder fake with functions = [ "slow", slow ] })

            let! (peer: Peer) = fake.WelcomeAsync welcome
            do! share peer 1 "\"slow\",\"lower\"" (files (folder.At "a") 0L 3L (folder.At "b"))
            do! peer.Send """{"type":"CANCEL","task":1,"attempt":1}"""
            // The next one is not given before the cancellation was read.
            do! share peer 2 "\"lower\"" (files (folder.At "a") 0L 3L (folder.At "c"))
            let! struct (answer, _) = result peer
            Expect.equal (text answer "task", text answer "stored") ("2", "3") "the other one"
            go.Set()
            running.Stop()
            let! _ = running.Ending
            Expect.isFalse (File.Exists(folder.At "b")) "nothing is left of the first"
        }
    ]

/// More than what travels, in lines of 14 bytes.
let private content =
    String.concat "" [ for number in 0..25_999 -> $"LINE {number:D8}\n" ]

let private sharingOptions (options: SchedulerOptions) = { options with sharesFiles = true }

let private worker (cluster: Cluster) =
    task {
        let! (peer: Peer) =
            cluster.JoinAsync
                """{"type":"HELLO","protocol":1,"role":"worker","name":"w","stages":["lower","own"],"sharedFiles":true}"""

        do! peer.Send """{"type":"READY","slots":4}"""
        return peer
    }

let private given (peer: Peer) : Task<JsonElement> =
    task {
        let mutable next = Unchecked.defaultof<JsonElement>

        // What was cancelled may be told or not.
        while next.ValueKind = JsonValueKind.Undefined || text next "type" = "CANCEL" do
            let! json = peer.ReadJsonExcept "BEAT"
            next <- json

        Expect.equal (text next "type") "PROCESS" $"{next}"
        return next
    }

/// Does what a PROCESS asks for.
let private write (work: JsonElement) =
    use source = File.OpenRead(text work "from")
    source.Position <- int64 (text work "start")
    let bytes = Array.zeroCreate (int (text work "size"))
    source.ReadExactly(bytes, 0, bytes.Length)
    let result = utf8 ((Encoding.UTF8.GetString bytes).ToLowerInvariant())
    use target = new FileStream(text work "to", FileMode.CreateNew)
    target.Write(result, 0, result.Length)
    result.Length

let private answer (peer: Peer) (work: JsonElement) (rest: string) =
    let task, attempt = text work "task", text work "attempt"
    peer.Send $"""{{"type":"RESULT","task":{task},"attempt":{attempt},{rest}}}"""

let private store (peer: Peer) work =
    let size = write work
    answer peer work $"\"ok\":true,\"stored\":{size}"

let private published (cluster: Cluster) name expected =
    task {
        let path = cluster.Folder.At $"resultados/{name}.out"
        do! eventually "the result" (fun () -> File.Exists path)
        Expect.equal (File.ReadAllText path) expected "the result"
        do! eventually "nothing is left" (fun () -> cluster.Spooled.Length = 0)
    }

/// Until the machine shows it; time goes on meanwhile.
let private until (cluster: Cluster) what (isSo: StatusReport -> bool) =
    task {
        let mutable goOn = true
        let clock = Diagnostics.Stopwatch.StartNew()

        while goOn do
            if clock.Elapsed > TimeSpan.FromSeconds 30.0 then
                failtest $"never: {what}"

            let! status = within (cluster.Server.StatusAsync())
            goOn <- not (isSo status)
    }

/// A result that travels.
let private reply (peer: Peer) (work: JsonElement) (result: string) =
    let task, attempt = text work "task", text work "attempt"

    peer.Send(
        $"""{{"type":"RESULT","task":{task},"attempt":{attempt},"ok":true,"bytes":{result.Length}}}""",
        utf8 result
    )

/// What comes next after a failure that counts for nothing: a second is long enough for its delay.
let private again (cluster: Cluster) peer =
    task {
        do! until cluster "it waits" (fun status -> status.waiting = 1L)
        cluster.Time.Advance(seconds 60.0)
        return! given peer
    }

/// An input that is never seen in part.
let private put (cluster: Cluster) name (content: string) =
    cluster.Folder.Write("incoming", content)
    File.Move(cluster.Folder.At "incoming", cluster.Folder.At $"entrada/{name}", true)

let private schedulers =
    testList "a scheduler" [
        testTask "names the file of an input, and publishes what was stored" {
            use cluster = new Cluster(sharingOptions)
            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let! work = given peer
            Expect.equal (text work "from") (cluster.Folder.At "entrada/a.txt") "from"
            Expect.equal (text work "start", text work "size") ("0", string content.Length) "all"
            Expect.equal (text work "length") (string content.Length) "of all of it"
            let modified = File.GetLastWriteTimeUtc(cluster.Folder.At "entrada/a.txt").Ticks
            let micros = (modified - DateTime.UnixEpoch.Ticks) / 10L
            Expect.equal (text work "modifiedUs") (string micros) "of that version"
            Expect.equal (text work "bytes") "" "nothing travels"
            Expect.isFalse (File.Exists(text work "to")) "the worker makes it"
            do! store peer work
            do! published cluster "a.txt" (content.ToLowerInvariant())
        }

        testTask "names a range for each piece" {
            use cluster =
                new Cluster(fun options -> {
                    sharingOptions options with
                        settings = { options.settings with split = 131_072L<B> }
                })

            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let ends = List<int64>()

            for piece in 0..2 do
                let! work = given peer
                Expect.equal (text work "piece") (string piece) "in order"
                Expect.equal (int64 (text work "start")) (Seq.sum ends) "goes on"
                ends.Add(int64 (text work "size"))
                do! store peer work

            Expect.equal (Seq.sum ends) (int64 content.Length) "all of it"
            do! published cluster "a.txt" (content.ToLowerInvariant())
        }

        testTask "names its own copy of what a client sent, and sends it the result" {
            use cluster = new Cluster(sharingOptions)
            use! (peer: Peer) = worker cluster
            use! (client: Peer) = cluster.ClientAsync()

            do!
                client.Send(
                    $"""{{"type":"SUBMIT","ref":"r","name":"a","pipeline":"lower","bytes":{content.Length}}}""",
                    utf8 content
                )

            let! work = given peer
            do! store peer work
            let! (ended: JsonElement) = client.ReadJsonExcept "ACCEPTED"
            Expect.equal (text ended "ok") "True" "done"
            let! (bytes: byte[]) = client.ReadBytes(int (text ended "bytes"))
            Expect.equal (Encoding.UTF8.GetString bytes) (content.ToLowerInvariant()) "the result"
            do! eventually "nothing is left" (fun () -> cluster.Spooled.Length = 0)
        }

        testTask "takes a small result out of its file, and a result that comes with the message" {
            use cluster = new Cluster(sharingOptions)
            put cluster "a.txt" content
            put cluster "b.txt" content
            use! (peer: Peer) = worker cluster
            let! first = given peer
            File.WriteAllText(text first "to", "small")
            do! answer peer first "\"ok\":true,\"stored\":5"
            let! second = given peer
            do! reply peer second "with"

            do! published cluster (text first "name") "small"
            do! published cluster (text second "name") "with"

            do!
                eventually "there are results, and nothing else" (fun () ->
                    Directory.GetFiles(cluster.Folder.At "resultados").Length = 2)
        }

        testTask "sends small payloads, and everything to whoever shares nothing" {
            use cluster = new Cluster(sharingOptions)
            put cluster "small.txt" "SMALL"
            use! (peer: Peer) = worker cluster
            let! small = given peer
            Expect.equal (text small "from", text small "bytes") ("", "5") "small"
            let! _ = peer.ReadBytes 5
            do! peer.Send """{"type":"READY","slots":0}"""
            use! (plain: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            put cluster "large.txt" content
            let! large = given plain
            Expect.equal (text large "from") "" "not asked for"
            Expect.equal (text large "bytes") (string content.Length) "bytes"
        }

        testTask "sends everything where it was not told to share" {
            use cluster = new Cluster(id)
            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let! work = given peer
            Expect.equal (text work "from") "" "no file"
            let! _ = peer.ReadBytes(int (text work "bytes"))
            do! answer peer work "\"ok\":true,\"stored\":5"
            let! next = again cluster peer
            Expect.equal (text next "attempt") "2" "nothing is taken from it"
        }

        for what, leave in
            [
                "is not there", (fun (_: Cluster) (_: string) -> ())
                "is shorter than what is said", (fun _ path -> File.WriteAllText(path, "abc"))
                "is longer", (fun _ path -> File.WriteAllText(path, "abcdef"))
                "is a link",
                (fun cluster path ->
                    cluster.Folder.Write("secret", "12345")
                    File.CreateSymbolicLink(path, cluster.Folder.At "secret") |> ignore)
                "is a folder", (fun _ path -> Directory.CreateDirectory path |> ignore)
            ] do
            testTask $"takes no result that {what}, and has it made again" {
                use cluster = new Cluster(sharingOptions)
                put cluster "a.txt" content
                use! (peer: Peer) = worker cluster
                let! work = given peer
                leave cluster (text work "to")
                do! answer peer work "\"ok\":true,\"stored\":5"
                let! next = again cluster peer
                Expect.equal (text next "attempt") "2" "another attempt"
                Expect.equal (text next "bytes") (string content.Length) "with bytes"
                let! _ = peer.ReadBytes content.Length
                do! reply peer next "done"
                let path = cluster.Folder.At "resultados/a.txt.out"
                do! eventually "the result" (fun () -> File.Exists path)
                Expect.equal (File.ReadAllText path) "done" "the result"
                Expect.isFalse (File.Exists(text work "to")) "what was wrong is gone"
            }

        testTask "sends bytes, from then on, to a worker that does not see the files" {
            use cluster = new Cluster(sharingOptions)
            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let! work = given peer
            Expect.notEqual (text work "from") "" "first a file"
            do! answer peer work "\"ok\":false,\"unshared\":true,\"error\":\"no such file\""
            let! next = again cluster peer
            Expect.equal (text next "bytes") (string content.Length) "then bytes"
            let! _ = peer.ReadBytes content.Length
            put cluster "b.txt" content
            let! other = given peer
            Expect.equal (text other "bytes") (string content.Length) "and for all else"
            let! _ = peer.ReadBytes content.Length

            for minutes in [ 5; 10 ] do
                cluster.Time.Advance(seconds (60.0 * float minutes - 61.0))
                put cluster $"{minutes}.txt" content
                let! still = given peer
                Expect.equal (text still "bytes") (string content.Length) "not yet"
                let! _ = peer.ReadBytes content.Length
                do! reply peer still "done"
                cluster.Time.Advance(seconds 61.0)
                put cluster $"after-{minutes}.txt" content
                let! later = given peer
                Expect.notEqual (text later "from") "" "a file again"
                do! answer peer later "\"ok\":false,\"unshared\":true,\"error\":\"no such file\""
                let! next = again cluster peer
                let! _ = peer.ReadBytes(int (text next "bytes"))
                do! reply peer next "done"
        }

        testTask "holds it against the task where no file was told" {
            use cluster =
                new Cluster(fun options -> {
                    sharingOptions options with
                        settings = { options.settings with maxAttempts = 1 }
                })

            put cluster "a.txt" "small"
            use! (peer: Peer) = worker cluster
            let! work = given peer
            Expect.equal (text work "bytes") "5" "bytes"
            let! _ = peer.ReadBytes 5
            do! answer peer work "\"ok\":false,\"unshared\":true,\"error\":\"no such file\""
            do! until cluster "it is in quarantine" (fun status -> status.quarantined = 1L)
        }

        testTask "blames no task for what a worker says of an input that has gone" {
            use cluster = new Cluster(sharingOptions)
            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let! work = given peer
            File.Delete(cluster.Folder.At "entrada/a.txt")
            do! answer peer work "\"ok\":false,\"error\":\"half a line\",\"retry\":false"
            do! until cluster "it is cancelled" (fun status -> status.cancelled = 1L)

            Expect.isEmpty
                (Directory.GetFiles(cluster.Folder.At "resultados"))
                "nothing is said of it"
        }

        testTask "gives a result the mode that its own files have" {
            if not (OperatingSystem.IsWindows()) then
                use cluster = new Cluster(sharingOptions)
                put cluster "a.txt" content
                put cluster "b.txt" content
                use! (peer: Peer) = worker cluster
                let! first = given peer
                let size = write first
                File.SetUnixFileMode(text first "to", UnixFileMode.UserRead)
                do! answer peer first $"\"ok\":true,\"stored\":{size}"
                let! second = given peer
                do! reply peer second "b"

                let modes = [
                    for work in [ first; second ] do
                        let name = text work "name"
                        cluster.Folder.At $"resultados/{name}.out"
                ]

                for path in modes do
                    do! eventually "the result" (fun () -> File.Exists path)

                Expect.equal
                    (File.GetUnixFileMode modes[0])
                    (File.GetUnixFileMode modes[1])
                    "as that of a result that travelled"
        }

        testTask "counts it for nothing against the task" {
            use cluster =
                new Cluster(fun options -> {
                    sharingOptions options with
                        settings = { options.settings with maxAttempts = 1 }
                })

            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let! work = given peer
            do! answer peer work "\"ok\":false,\"unshared\":true,\"error\":\"no such file\""
            let! next = again cluster peer
            Expect.equal (text next "attempt") "2" "not in quarantine"
        }

        testTask "does not publish what was made of a version that changed meanwhile" {
            use cluster = new Cluster(sharingOptions)
            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let! work = given peer
            let newer = content + "MORE\n"
            put cluster "a.txt" newer
            do! store peer work
            let! next = given peer
            Expect.notEqual (text next "task") (text work "task") "another task"
            Expect.equal (text next "size") (string newer.Length) "of the newer version"
            do! store peer next
            do! published cluster "a.txt" (newer.ToLowerInvariant())
        }

        testTask "goes on sharing when it is the input that has gone" {
            use cluster = new Cluster(sharingOptions)
            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let! work = given peer
            File.Delete(cluster.Folder.At "entrada/a.txt")
            do! answer peer work "\"ok\":false,\"unshared\":true,\"error\":\"no such file\""
            do! until cluster "it is cancelled" (fun status -> status.cancelled = 1L)
            put cluster "b.txt" content
            let! next = given peer
            Expect.notEqual (text next "from") "" "a file again"
        }

        testTask "takes nothing that another worker was given" {
            use cluster = new Cluster(sharingOptions)
            put cluster "a.txt" content
            use! (peer: Peer) = worker cluster
            let! work = given peer
            use! (thief: Peer) = worker cluster
            let size = write work
            do! answer thief work $"\"ok\":true,\"stored\":{size}"
            // Its answer comes after what was said before.
            do! thief.Send """{"type":"BEAT"}"""
            let! _ = thief.ReadJson()
            Expect.isTrue (File.Exists(text work "to")) "it is still there"
            do! answer peer work $"\"ok\":true,\"stored\":{size}"
            do! published cluster "a.txt" (content.ToLowerInvariant())
        }
    ]

/// A machine with one attempt that runs, of a client's task.
let private running =
    let submission =
        Submission.Create(name "a", "r", 0, Origin.Client(2L<sessionId>, Result, None), Bytes [||])

    [|
        Input.Join(1L<sessionId>, "w", [| "lower" |])
        Input.Ready(1L<sessionId>, 1)
        Input.Submit(submission, "lower")
    |]

/// Where one running attempt, 1 of task 1, has stored a result: what is made of it, `place` giving its new path.
let private takenOver
    (place: TempFolder -> string)
    : Task<struct (Input * string voption * (string | null) * string list)> =
    task {
        use folder = new TempFolder()
        let state = new StateFolder(folder.Path)
        let time = HandTime()
        let clock = Clock time
        let holdup = Holdup NullLogger.Instance

        let agent =
            SchedulerAgent(Scheduler settings, MemoryJournal 100, Release(fun _ -> ()), clock)

        do! ended (agent.PostAsync(running, CancellationToken.None))
        let attempt = { task = 1L<taskId>; number = 1 }
        File.WriteAllText(state.SharedFile attempt, content)

        let sharing =
            Sharing(
                InputFolder(folder.At "entrada"),
                state,
                agent,
                (fun _ -> place folder),
                (fun _ -> false),
                (fun _ _ -> ()),
                holdup,
                clock
            )

        let size = int64 content.Length * 1L<B>
        let taking = sharing.TakeAsync(1L<sessionId>, attempt, size, CancellationToken.None)
        let mutable reason: string | null = null

        do!
            eventually "it is taken over" (fun () ->
                if not (isNull holdup.Reason) then
                    reason <- holdup.Reason

                time.Advance(seconds 1.0)
                taking.IsCompleted)

        let! struct (input, trouble) = taking
        Expect.isNull holdup.Reason "no longer"

        let left =
            Directory.GetFiles(folder.At "spool")
            |> Seq.map (fun path -> nonNull (Path.GetFileName path))

        return struct (input, trouble, reason, List.ofSeq left)
    }

let private takingOver =
    testList "a result that was stored" [
        testTask "waits while the disk takes nothing" {
            let mutable tries = 0

            let place (folder: TempFolder) =
                tries <- tries + 1

                if tries < 4 then
                    raise (IOException("no room", Linux.Errno.ENOSPC))

                folder.At "spool/taken"

            let! struct (input: Input, trouble: string voption, reason, left) = takenOver place
            Expect.isTrue (input.IsReport) "it succeeded"
            Expect.equal trouble ValueNone "no reason not to share"
            Expect.stringContains (string reason) "no room" "new work is held back"
            Expect.equal (tries, left) (4, [ "taken" ]) "moved once there was room"
        }

        testTask "is given up where it cannot be had" {
            let! struct (input: Input, trouble: string voption, reason, left) =
                takenOver (fun folder -> folder.At "spool/none/taken")

            Expect.isTrue input.IsUnstored "counts for nothing"
            Expect.isTrue trouble.IsSome "a reason not to share"
            Expect.isNull reason "nothing passes by itself"
            Expect.isEmpty left "nothing is left"
        }
    ]

let private leftovers =
    testList "what nobody waits for" [
        testTask "is deleted, and nothing else" {
            use folder = new TempFolder()
            let state = new StateFolder(folder.Path)

            let agent =
                SchedulerAgent(
                    Scheduler settings,
                    MemoryJournal 100,
                    Release(fun _ -> ()),
                    Clock(HandTime())
                )

            do! ended (agent.PostAsync(running, CancellationToken.None))
            let refuse _ = failwith "not to be placed"

            let sharing =
                Sharing(
                    InputFolder(folder.At "entrada"),
                    state,
                    agent,
                    refuse,
                    (fun _ -> false),
                    (fun _ _ -> ()),
                    Holdup NullLogger.Instance,
                    Clock(HandTime())
                )

            let attempt task number = { task = task * 1L<taskId>; number = number }
            let current = state.SharedFile(attempt 1L 1)

            let others = [
                for id, number in [ 1L, 2; 7L, 1 ] -> state.SharedFile(attempt id number)
            ]

            let beside =
                [ "5"; "x.shared"; "1-2-3.shared"; "-1.part" ]
                |> List.map (fun name -> folder.At $"spool/{name}")

            for path in current :: others @ beside do
                File.WriteAllText(path, "")

            do! ended (sharing.SweepAsync CancellationToken.None)
            let left = Directory.GetFiles(folder.At "spool") |> Set.ofArray
            Expect.equal left (Set.ofList (current :: beside)) "left"

            Directory.Move(folder.At "spool", folder.At "away")
            do! ended (sharing.SweepAsync CancellationToken.None) // on a network mount it may be back the next time
        }

        test "is kept at a start, where a worker may still be writing it" {
            use folder = new TempFolder()
            let state = new StateFolder(folder.Path)
            let path = state.SharedFile { task = 1L<taskId>; number = 1 }
            File.WriteAllText(path, "")
            File.WriteAllText(folder.At "spool/5", "")
            state.Sweep(HashSet())
            Expect.equal (Directory.GetFiles(folder.At "spool")) [| path |] "left"
        }
    ]

let tests =
    testList "shared files" [ folders; workers; schedulers; takingOver; leftovers ]
