/// Whose result has which name, on the real disk.
module FsScheduler.Server.Tests.ResultOwnersTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Server
open FsScheduler.Folders
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit
open FsScheduler.Journal.Tests.JournalSupport

let private file = OfFile(name "c.txt")
let private ofTask number = OfTask(number * 1L<taskId>)

/// A folder of results, what is an input, and who owns what.
type private Results(folder: TempFolder, inputs: string list) =
    let publisher = ResultStore(folder.At "out")

    let owners =
        ResultOwners(publisher, (fun name -> List.contains (string name) inputs), [])

    member _.ResultStore = publisher
    member _.Owners = owners

    /// Puts a result, and tells under which name it stands.
    member _.Put(source, text: string, ?own: string) =
        let bytes = ReadOnlyMemory(Text.Encoding.UTF8.GetBytes text)

        match
            owners.Put(
                source,
                name (defaultArg own "c.txt"),
                fun place mayReplace -> publisher.Publish(place, bytes, mayReplace)
            )
        with
        | Ok(struct (place, _)) -> string place
        | Error trouble -> failtest trouble.Message

    member _.PutError(source, text: string) =
        match
            owners.Put(
                source,
                name "c.txt",
                fun place mayReplace -> publisher.PublishError(place, text, mayReplace)
            )
        with
        | Ok(struct (place, _)) -> string place
        | Error trouble -> failtest trouble.Message

let private read (folder: TempFolder) file =
    IO.File.ReadAllText(folder.At $"out/{file}")

/// Performs effects by a queue with one answer for each result, and ends it.
let private performWith (log: ILogger) owned remember (folder: TempFolder) effects =
    task {
        let publisher = ResultStore(folder.At "out")
        publisher.Sweep() |> ignore
        use stop = new CancellationTokenSource()
        let told = TaskCompletionSource()
        let clock = Clock TimeProvider.System

        let queue =
            ResultPublisher(
                Inputs(InputFolder(folder.At "in"), OnDone.Keep),
                publisher,
                Spool(),
                ResultOwners(publisher, (fun _ -> false), owned),
                OnDone.Keep,
                Sync.Off,
                ignore,
                clock,
                StorageOutage NullLogger.Instance,
                ActivityLog(clock, NullLogger.Instance),
                log
            )

        // All are there before the first is looked at.
        List.iter queue.Post effects

        let running =
            queue.RunAsync(
                (fun _ ->
                    told.TrySetResult() |> ignore
                    Task.CompletedTask),
                remember,
                stop.Token
            )

        do! told.Task.WaitAsync(TimeSpan.FromSeconds 30.0)
        stop.Cancel()
        do! running.ContinueWith(fun (_: Task) -> ())
    }

let private performLogging log folder effects =
    performWith log [] ServerSupport.rememberNothing folder effects

let private perform folder effects =
    performLogging NullLogger.Instance folder effects

let private submission origin =
    Submission.Create(name "c.txt", "", 0, origin, Bytes [||])

let private trouble = {
    attempt = 1
    cause = TaskError
    stages = "lower"
    worker = "w"
    error = "not UTF-8"
    at = Instant.zero
}

[<Tests>]
let tests =
    testList "the owner of a result" [
        test "keeps it: another one is told apart, and versions of a file replace each other" {
            use folder = new TempFolder()
            let results = Results(folder, [])
            Expect.equal (results.Put(ofTask 1L, "one")) "c.txt" "the first"
            Expect.equal (results.Put(ofTask 2L, "two")) "c.2.txt" "the second"
            Expect.equal (results.Put(file, "file")) "c.1.txt" "a file of that name"
            Expect.equal (results.Put(file, "newer")) "c.1.txt" "its next version"
            Expect.equal (read folder "c.txt.out") "one" "the first stays"
            Expect.equal (read folder "c.2.txt.out") "two" "and the second"
            Expect.equal (read folder "c.1.txt.out") "newer" "the file's is replaced"
            Expect.equal (results.Owners.Find(file, name "c.txt") |> string) "c.1.txt" "found"
            IO.File.Delete(folder.At "out/c.txt.out")
            let gone = System.Collections.Generic.List<string>()

            let remember (owner: ResultOwner) =
                gone.Add(string owner.name)
                Task.CompletedTask

            let forget file =
                results.Owners.ForgetAsync(name file, remember).Wait()

            forget "c.txt"
            forget "c.2.txt"
            Expect.equal (List.ofSeq gone) [ "c.txt" ] "only what is not there is forgotten"
            Expect.equal (results.Put(ofTask 3L, "three")) "c.txt" "what was fetched is free"
        }

        test "of a name that an input has is that input" {
            use folder = new TempFolder()
            let results = Results(folder, [ "c.txt"; "c.1.txt" ])

            Expect.equal
                (results.Put(ofTask 1L, "one"))
                "c.1-2.txt"
                "also where it has no result yet"

            Expect.isFalse (results.Owners.MayHave(ofTask 2L, name "c.txt")) "nor may it have it"
            Expect.equal (results.Put(file, "file")) "c.txt" "the file's own"
        }

        test "of what was there before is not asked: nothing is replaced" {
            use folder = new TempFolder()
            folder.Write("out/c.txt.out", "of an earlier life")
            let results = Results(folder, [])
            Expect.equal (results.Put(ofTask 1L, "one")) "c.1.txt" "told apart"
            Expect.equal (read folder "c.txt.out") "of an earlier life" "it stays"
            Expect.equal (results.Put(file, "file")) "c.txt" "a file of that name is the owner"
        }

        test "has the error too" {
            use folder = new TempFolder()
            let results = Results(folder, [])
            Expect.equal (results.PutError(file, "not UTF-8")) "c.txt" "in quarantine"
            Expect.equal (results.Put(ofTask 1L, "one")) "c.1.txt" "a success of another one"
            Expect.equal (results.PutError(ofTask 2L, "worse")) "c.2.txt" "a failure of another one"
            Expect.equal (read folder "c.txt.err") "not UTF-8" "the file's error stays"
            Expect.equal (results.Put(ofTask 2L, "two")) "c.2.txt" "its own success"
            Expect.isFalse (IO.File.Exists(folder.At "out/c.2.txt.err")) "removes its own error"
            Expect.equal (results.Put(file, "file")) "c.txt" "the file's success"
            Expect.isFalse (IO.File.Exists(folder.At "out/c.txt.err")) "removes the file's"
        }

        test "is remembered, and what is told apart is found again" {
            use folder = new TempFolder()
            let results = Results(folder, [])
            results.Put(ofTask 1L, "one") |> ignore
            results.Put(file, "file") |> ignore

            let later = ResultOwners(results.ResultStore, (fun _ -> false), results.Owners.All)

            Expect.equal (later.Find(file, name "c.txt") |> string) "c.1.txt" "the file's"
            Expect.isTrue (later.MayHave(ofTask 1L, name "c.txt")) "the first's"
            Expect.isFalse (later.MayHave(ofTask 2L, name "c.txt")) "nobody else's"
            let forgetful = ResultOwners(results.ResultStore, (fun _ -> false), [])
            Expect.equal (forgetful.Find(file, name "c.txt") |> string) "c.txt" "unless it is lost"
        }

        test "is told once, and once more when a name is the file's again" {
            use folder = new TempFolder()
            let publisher = ResultStore(folder.At "out")
            let owners = ResultOwners(publisher, (fun _ -> false), [])

            let put source =
                owners.Put(
                    source,
                    name "c.txt",
                    fun place mayReplace ->
                        publisher.Publish(place, ReadOnlyMemory "x"B, mayReplace)
                )

            let told owner =
                Ok(struct (name "c.txt", ValueSome { name = name "c.txt"; owner = owner }))

            Expect.equal (put (ofTask 1L)) (told (ValueSome(ofTask 1L))) "the task's"
            Expect.equal (put (ofTask 1L)) (Ok(struct (name "c.txt", ValueNone))) "known"
            IO.File.Delete(folder.At "out/c.txt.out")
            Expect.equal (put file) (Error(Abandoned(name "c.txt"))) "not before that is durable"
            let durable = TaskCompletionSource()
            let forgotten = System.Collections.Generic.List<ResultOwner>()

            let remember owner : Task =
                forgotten.Add owner
                durable.Task

            let forgetting = owners.ForgetAsync(name "c.txt", remember)
            Expect.equal (put file) (Error(Abandoned(name "c.txt"))) "nor for the file's"
            let again = owners.ForgetAsync(name "c.txt", remember)
            Expect.isFalse (forgetting.IsCompleted || again.IsCompleted) "both wait"
            durable.SetResult()
            Task.WaitAll([| forgetting; again |], patience) |> ignore

            Expect.equal
                (List.ofSeq forgotten)
                [ { name = name "c.txt"; owner = ValueNone } ]
                "once"

            Expect.equal (put file) (Ok(struct (name "c.txt", ValueNone))) "as everybody assumes"
        }

        testTask "is known before the next one of that name is put there" {
            use folder = new TempFolder()
            let results = Results(folder, [])
            let other = ref (Task.FromResult "")

            let putSlowly place mayReplace =
                let outcome = results.ResultStore.Publish(place, ReadOnlyMemory "one"B, mayReplace)
                other.Value <- Task.Run(fun () -> results.Put(file, "file"))
                // It waits for this one to end.
                Expect.isFalse (other.Value.Wait 50) "the file's"
                outcome

            results.Owners.Put(ofTask 1L, name "c.txt", putSlowly) |> ignore
            let! place = other.Value
            Expect.equal place "c.1.txt" "told apart"
            Expect.equal (read folder "c.txt.out") "one" "the task's stays"
        }

        testTask "of many at once is one each" {
            use folder = new TempFolder()
            let results = Results(folder, [])

            let! places =
                Task.WhenAll [|
                    for number in 1L .. 64L ->
                        Task.Run(fun () -> results.Put(ofTask number, string number))
                |]

            Expect.equal (Array.distinct places).Length 64 "no name twice"

            for number in 1..64 do
                Expect.equal
                    (read folder $"{places[number - 1]}.out")
                    (string number)
                    "nor a result"
        }

        testTask "whose result is gone is forgotten for good before another one has the name" {
            use folder = new TempFolder()
            IO.Directory.CreateDirectory(folder.At "in") |> ignore
            let remembered = System.Collections.Generic.List<ResultOwner>()

            let remember (owner: ResultOwner) : Task =
                task {
                    do! Task.Yield()
                    Expect.isFalse (IO.File.Exists(folder.At "out/c.txt.out")) "not yet published"
                    remembered.Add owner
                }

            do!
                performWith NullLogger.Instance [ struct (name "c.txt", ofTask 1L) ] remember folder [
                    DiskEffect.Publish(
                        attemptOf 2 1,
                        submission (Origin.Client(1L<sessionId>, File, None)),
                        bytes "done"
                    )
                ]

            Expect.equal
                (List.ofSeq remembered)
                [ { name = name "c.txt"; owner = ValueNone } ]
                "once"

            Expect.equal (read folder "c.txt.out") "done" "the result"
        }

        testTask "of an older error gives way to a result that came meanwhile" {
            use folder = new TempFolder()
            IO.Directory.CreateDirectory(folder.At "in") |> ignore
            let origin = Origin.Client(1L<sessionId>, File, None)

            do!
                perform folder [
                    DiskEffect.PublishError(taskId 1, submission origin, [ trouble ])
                    DiskEffect.Publish(attemptOf 1 2, submission origin, bytes "done")
                ]

            Expect.equal (read folder "c.txt.out") "done" "the result"
            Expect.isFalse (IO.File.Exists(folder.At "out/c.txt.err")) "no error"
        }

        testTask "of an older error is not even tried where a result of the same source waits" {
            use folder = new TempFolder()
            // Whoever wrote the error would fail.
            IO.Directory.CreateDirectory(folder.At "out/c.txt.err") |> ignore
            let log = RecordingLog()

            do!
                performLogging log folder [
                    DiskEffect.PublishError(taskId 1, submission Origin.Folder, [ trouble ])
                    DiskEffect.Publish(attemptOf 1 2, submission Origin.Folder, bytes "done")
                ]

            Expect.equal (read folder "c.txt.out") "done" "the result"

            Expect.isFalse (log.Lines |> List.exists _.Contains("c.txt.err:")) "the error was void"
        }

        testTask "and the error of another task stays" {
            use folder = new TempFolder()
            IO.Directory.CreateDirectory(folder.At "in") |> ignore
            let origin = Origin.Client(1L<sessionId>, File, None)

            do!
                perform folder [
                    DiskEffect.PublishError(taskId 1, submission origin, [ trouble ])
                    DiskEffect.Publish(attemptOf 2 1, submission origin, bytes "done")
                ]

            Expect.isTrue (IO.File.Exists(folder.At "out/c.txt.err")) "the error"
            Expect.equal (read folder "c.2.txt.out") "done" "the result"
        }
    ]
