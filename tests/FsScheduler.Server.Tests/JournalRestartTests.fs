/// What a restart finds in the journal of a process that has ended.
module FsScheduler.Server.Tests.JournalRestartTests

open System
open System.IO
open System.Text.Json
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Journal
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Journal.Tests.JournalSupport
open FsScheduler.Server.Tests.TestJournal
open FsScheduler.Server.Tests.Cluster

let private restarting =
    testList "a restart" [
        testTask "finds what a killed process had committed, and nothing of what it had not" {
            let store = new MemoryStore()
            let journal = openAs store

            let forks = [|
                for turn in 0..19 do
                    (append journal (int64 (turn * 3) + 1L) (done' (turn + 1))).Wait()
                    store.Fork()
            |]

            do! close journal

            for turn in 0..19 do
                let journal = openAs forks[turn]
                let scheduler = Scheduler settings
                scheduler.Restore(journal.Recover(), Instant.zero)
                Expect.equal scheduler.Status.finished (int64 turn + 1L) "all of it"
                Expect.equal scheduler.LastEvent (int64 (turn * 3) + 3L) "the highest number"
                do! close journal
        }

        testTask "knows the version of every file, and which results it is to look for" {
            let store = new MemoryStore()
            let journal = openAs store
            let hash: ContentHash = { size = 3L<B>; hash = 9UL }

            let file text version =
                let stamp: FileVersion = {
                    size = 1L<B>
                    modified = version
                    changed = 3L
                    inode = 4L
                }

                Submission.Create(name text, "", 0, Origin.Folder, Payload.Input stamp)

            do!
                append journal 1L [
                    Event.Submitted(taskId 1, file "a" 1L, pipeline [ "a" ])
                    Event.Submitted(taskId 2, file "b" 1L, pipeline [ "a" ])
                    Event.Completed(attemptOf 1 1, NothingKept)
                    Event.Submitted(taskId 3, file "a" 2L, pipeline [ "a" ])
                    Event.Completed(attemptOf 3 1, StoredResult hash)
                    Event.Cancelled(taskId 2, "gone")
                    Event.Gone "b"
                    Event.Submitted(taskId 4, file "c" 1L, pipeline [ "a" ])
                    Event.Completed(attemptOf 4 1, StoredResult hash)
                    Event.Submitted(taskId 5, file "c" 2L, pipeline [ "a" ])
                ]

            let restored () =
                let scheduler = Scheduler settings
                scheduler.Restore(journal.Recover(), Instant.zero)

                let files = [
                    for KeyValue(file, taken) in scheduler.TakenFiles do
                        file, taken.version.modified
                ]

                List.sort files, List.ofArray scheduler.Unflushed

            Expect.equal
                (restored ())
                ([ "a", 2L; "c", 2L ], [ struct ("a", hash) ])
                "the newest of what is there; not flushed, and not about to be replaced"

            do! append journal 11L [ Event.Noted(Note.Flushed 5L) ]
            Expect.equal (snd (restored ())) [] "flushed"
            do! append journal 12L [ Event.Noted(Note.Damaged "a") ]
            Expect.equal (restored ()) ([ "c", 2L ], []) "a is to be taken again"
            do! close journal
        }

        testTask "finds an accepted result under its final name, and no other" {
            use folder = new TempFolder()
            let store = new MemoryStore()
            let publisher = ResultStore(folder.At "out")

            let temporary =
                match publisher.CreateTemp(name "large") with
                | Ok path -> path
                | Error trouble -> failtest trouble.Message

            File.WriteAllText(temporary, "a large result")
            let large = Spooled(temporary, 14L<B>)
            let journal = openAs store

            do!
                append journal 1L [
                    Event.Joined(1L<sessionId>, "w", [| "a" |])

                    for task, named in [ 1, "small"; 2, "large"; 3, "done" ] do
                        Event.Submitted(taskId task, file named 1, pipeline [ "a" ])
                        Event.Assigned(attemptOf task 1, 1L<sessionId>, struct (0, 1))

                    Event.Accepted(attemptOf 1 1, AcceptedContent(bytes "small result"))
                    Event.Accepted(attemptOf 2 1, AcceptedContent large)
                    Event.Accepted(attemptOf 3 1, AcceptedContent(bytes "done"))
                    Event.Completed(attemptOf 3 1, NothingKept)
                ]

            do! close journal
            let journal = openAs store
            let scheduler = Scheduler settings
            scheduler.Restore(journal.Recover(), Instant.zero)
            do! close journal
            let accepted = scheduler.Accepted

            Expect.equal
                [
                    for struct (attempt, submission, _) in accepted do
                        attempt, submission.Name
                ]
                [ attemptOf 1 1, "small"; attemptOf 2 1, "large" ]
                "those that are not finished"

            let find isSameBoot (file: string) =
                let struct (_, _, mark) =
                    accepted
                    |> Array.find (fun (struct (_, submission, _)) -> submission.Name = file)

                ResultMark.find isSameBoot (publisher.TargetOf(name file)) mark

            Expect.equal (find true "small") ValueNone "not renamed"
            Expect.equal (find true "large") ValueNone "not renamed"
            publisher.Publish(name "small", ReadOnlyMemory "small result"B, true) |> ignore
            publisher.PublishTemp(name "large", temporary, true) |> ignore
            let hash = ResultFile.hashOf "small result"B
            Expect.equal (find false "small") (ValueSome hash) "renamed"
            let hash = ResultFile.hashOf "a large result"B
            Expect.equal (find true "large") (ValueSome hash) "renamed"
            Expect.equal (find false "large") ValueNone "it may be torn after a power cut"
            publisher.Publish(name "small", ReadOnlyMemory "other result"B, true) |> ignore

            publisher.Publish(name "large", ReadOnlyMemory "a large resulT"B, true)
            |> ignore

            Expect.equal (find true "small") ValueNone "another result of that size"
            Expect.equal (find true "large") ValueNone "another result of that size"
        }
    ]

let private delivering =
    testList "a result that is kept" [
        testTask "is delivered to a client that is there, and not to one that has gone" {
            use cluster = new Cluster(id)
            let journal = cluster.Journal
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 2)

            let submit (client: Peer) key =
                task {
                    do!
                        client.Send(
                            $"""{{"type":"SUBMIT","ref":"r","name":"n","pipeline":"lower","key":"{key}","bytes":1}}""",
                            "A"B
                        )

                    let! (accepted: JsonElement) = client.ReadJson()
                    Expect.equal (text accepted "type") "ACCEPTED" "accepted"
                    let! (given: JsonElement) = worker.ReadJson()
                    let! (_: byte[]) = worker.ReadBytes 1
                    return text given "task"
                }

            let finish task : Task =
                worker.Send(
                    $"""{{"type":"RESULT","task":{task},"attempt":1,"ok":true,"bytes":1}}""",
                    "a"B
                )

            let! (gone: Peer) = cluster.ClientAsync()
            let! first = submit gone "first"
            (gone :> IDisposable).Dispose()
            use! (client: Peer) = cluster.ClientAsync()
            let! second = submit client "second"
            do! finish first
            do! finish second
            let! (ended: JsonElement) = client.ReadJson()
            Expect.equal (text ended "type", text ended "task") ("DONE", second) "delivered"
            let! (_: byte[]) = client.ReadBytes 1

            let delivered () = [
                for event in (journal :> IHistory).EventsAfter(0L, 1_000) do
                    let json = JsonDocument.Parse(event.json).RootElement

                    if text json "what" = "delivered" then
                        text json "task"
            ]

            do! eventually "recorded" (fun () -> delivered () <> [])
            Expect.equal (delivered ()) [ second ] "of that one"
        }
    ]

[<Tests>]
let tests = testList "journal" [ restarting; delivering ]
