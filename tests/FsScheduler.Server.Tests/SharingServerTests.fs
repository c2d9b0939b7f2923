/// A scheduler that tells its workers files in place of payloads.
module FsScheduler.Server.Tests.SharingServerTests

open System
open System.Diagnostics
open System.IO
open System.Text
open System.Text.Json
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

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
        let clock = Stopwatch.StartNew()

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

[<Tests>]
let tests =
    testList "a scheduler that shares files" [
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
            let ends = ResizeArray<int64>()

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
