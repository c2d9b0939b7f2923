/// What is on the device before anything rests on it.
module FsScheduler.Server.Tests.ResultPublisherTests

open System
open System.Collections.Concurrent
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit
open FsScheduler.Folders.Tests.FolderSupport
open FsScheduler.Server.Tests.ServerSupport
open FsScheduler.Journal.Tests.JournalSupport

/// What happened, in order.
type private Happened =
    /// A flush, and whether input and result were there.
    | Flushed of hasInput: bool * hasResult: bool
    | Told of Input

let private clientFile =
    Submission.Create(name "a", "", 0, Origin.Client(client, File, None), Bytes [||])

/// Publishes one result, of a file or of a client, and tells what happened.
let private publish sync onDone (isOfFile: bool) (failures: int) =
    task {
        use folder = new TempFolder()
        let entrada = Directory.CreateDirectory(folder.At "entrada").FullName
        let publisher = ResultStore(folder.At "resultados")
        let happened = ConcurrentQueue<Happened>()
        let over = TaskCompletionSource()
        use stop = new CancellationTokenSource()
        let mutable failures = failures

        let flush (paths: string seq) =
            happened.Enqueue(
                Flushed(
                    IO.File.Exists(Path.Combine(entrada, "a")),
                    Seq.forall IO.File.Exists paths && Seq.length paths = 1
                )
            )

            if failures > 0 then
                failures <- failures - 1
                raise (IOException "no space left")

        let queue = publishQueue entrada publisher onDone sync flush

        let input = FileInfo(Path.Combine(entrada, "a"))
        IO.File.WriteAllText(input.FullName, "A")
        input.Refresh()

        let submission =
            if isOfFile then
                let stamp = FileStatus.portableOf input

                Submission.Create(name "a", "", 0, Origin.Folder, Payload.Input stamp)
            else
                clientFile

        let tell (inputs: Input[]) =
            for input in inputs do
                happened.Enqueue(Told input)

            over.TrySetResult() |> ignore
            Task.CompletedTask

        let running = queue.RunAsync(tell, rememberNothing, stop.Token)
        queue.Post(DiskEffect.Publish(attemptOf 1 1, submission, bytes "a"))
        do! over.Task.WaitAsync(TimeSpan.FromSeconds 30.0)
        stop.Cancel()

        try
            do! running
        with :? OperationCanceledException ->
            ()

        return List.ofSeq happened, IO.File.Exists input.FullName
    }

let private published = Told(Input.Published(attemptOf 1 1, ResultFile.hashOf "a"B))

/// Whose the name is, before anything else of it is told.
let private owned =
    Told(Input.Note [| Note.Owner(name "a", ValueSome(OfTask(taskId 1))) |])

let private flushed = Flushed(true, true)

[<Tests>]
let tests =
    testList "a result" [
        for sync, onDone, isOfFile, isFlushed, what in
            [
                Sync.Normal, OnDone.Keep, true, false, "of a file that stays can be made again"
                Sync.Normal, OnDone.Keep, false, true, "of a client's payload cannot"
                Sync.Normal, OnDone.Delete, true, true, "of a file that goes cannot"
                Sync.Normal, OnDone.Move, true, true, "of a file that is moved cannot"
                Sync.Full, OnDone.Keep, true, true, "is always flushed at full"
                Sync.Off, OnDone.Keep, true, false, "is not flushed at off"
                Sync.Off, OnDone.Keep, false, false, "of a client is not flushed at off"
                Sync.Off,
                OnDone.Delete,
                true,
                true,
                "is flushed before an input goes, whatever the level"
            ] do
            testTask $"{what}: {sync}, {onDone}" {
                let! happened, hasInput = publish sync onDone isOfFile 0

                let expected = [
                    if isFlushed then
                        flushed
                    if not isOfFile then
                        owned
                    published
                ]

                Expect.equal happened expected "first on the device, then told"
                Expect.equal hasInput (not isOfFile || onDone = OnDone.Keep) "the input"
            }

        for isChanged, mayBeOlder, expected, what in
            [
                true,
                false,
                [ "look at changed, True"; "outdated" ],
                "has changed is thrown away, and the file is looked at again first"
                true, true, [ "published" ], "has changed is published where it may be older"
                if OperatingSystem.IsLinux() then
                    false,
                    false,
                    [ "look at changed, True"; "published" ],
                    "somebody writes to is published, and the file stays and is looked at again"
            ] do
            testTask $"of a file that {what}" {
                use folder = new TempFolder()
                let publisher = ResultStore(folder.At "resultados")
                let happened = ConcurrentQueue<string>()
                let over = TaskCompletionSource()
                let stop = new CancellationTokenSource()

                let queue = publishQueue folder.Path publisher OnDone.Delete Sync.Off ignore

                IO.File.WriteAllText(folder.At "changed", "as it is now")

                let stamp =
                    if isChanged then
                        FileVersion.ofTime 1L<B> 1L
                    else
                        stampOf (InputFolder folder.Path) "changed"

                use _ = IO.File.Open(folder.At "changed", FileMode.Open, FileAccess.ReadWrite)

                queue.Finished.Reconsider <-
                    fun name version -> happened.Enqueue $"look at {name}, {version = stamp}"

                let tell (inputs: Input[]) =
                    for input in inputs do
                        happened.Enqueue(
                            match input with
                            | Input.Outdated _ -> "outdated"
                            | Input.Published _ -> "published"
                            | other -> string other
                        )

                    over.TrySetResult() |> ignore
                    Task.CompletedTask

                let running = queue.RunAsync(tell, rememberNothing, stop.Token)

                let submission =
                    Submission.Create(name "changed", "", 0, Origin.Folder, Payload.Input stamp)

                let publish =
                    if mayBeOlder then
                        DiskEffect.PublishOlder
                    else
                        DiskEffect.Publish

                queue.Post(publish (attemptOf 1 1, submission, bytes "a"))
                do! over.Task.WaitAsync(TimeSpan.FromSeconds 30.0)
                stop.Cancel()

                try
                    do! running
                with :? OperationCanceledException ->
                    ()

                Expect.equal (List.ofSeq happened) expected "in this order"
                Expect.isTrue (IO.File.Exists(folder.At "changed")) "it stays"
            }

        testTask "is not read again where it is known what it holds" {
            use folder = new TempFolder()
            let publisher = ResultStore(folder.At "resultados")

            let path =
                match publisher.CreateTemp(name "a") with
                | Ok path -> path
                | Error trouble -> failtest trouble.Message

            IO.File.WriteAllText(path, "A")
            let said: ContentHash = { size = 1L<B>; hash = 42UL }
            let told = TaskCompletionSource<Input[]>()
            let stop = new CancellationTokenSource()

            let queue = publishQueue folder.Path publisher OnDone.Keep Sync.Off ignore

            let running =
                queue.RunAsync(
                    (fun inputs ->
                        told.TrySetResult inputs |> ignore
                        Task.CompletedTask),
                    rememberNothing,
                    stop.Token
                )

            queue.Note(path, said)
            queue.Post(DiskEffect.Publish(attemptOf 1 1, clientFile, Spooled(path, 1L<B>)))
            let! inputs = told.Task.WaitAsync(TimeSpan.FromSeconds 30.0)
            stop.Cancel()
            do! running.ContinueWith(fun (_: Task) -> ())

            Expect.equal
                (Array.last inputs)
                (Input.Published(attemptOf 1 1, said))
                "what was said of it"

            Expect.equal (IO.File.ReadAllText(publisher.TargetOf(name "a"))) "A" "published"
        }

        testTask "waits, and keeps its input, while the disk does not take it" {
            let! happened, hasInput = publish Sync.Normal OnDone.Delete true 1
            Expect.equal happened [ flushed; flushed; published ] "tried again"
            Expect.isFalse hasInput "and then the input goes"
        }
    ]
