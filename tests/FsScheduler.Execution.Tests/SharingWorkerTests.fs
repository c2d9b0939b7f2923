/// A worker that is told files in place of payloads.
module FsScheduler.Execution.Tests.SharingWorkerTests

open System
open System.IO
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Execution
open FsScheduler.TestKit
open FsScheduler.Execution.Tests.SharedFoldersTests
open FsScheduler.Execution.Tests.RunningWorker
open FsScheduler.Execution.Tests.WorkerExchange

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

[<Tests>]
let tests =
    testList "a worker that shares files" [
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
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
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

            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
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
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
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
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
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

            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
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
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
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

            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
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
