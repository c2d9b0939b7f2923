/// When `submit` gives a scheduler up.
module FsScheduler.Scheduler.Tests.UploadRunTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Scheduler
open FsScheduler.Sdk
open FsScheduler.TestKit

let private silent = {
    new IUploadReport with
        member _.Accepted(_, _) = ()
        member _.Ended(_, _, _, _, _, _) = ()
        member _.Halted(_, _, _) = ()
        member _.Waiting _ = ()
}

let private upload (path: string) : Upload = {
    number = 1
    file = "a"
    name = "a"
    result = "a.out"
    path = path
    size = 1L
    failure = None
    submission = Submission(Name = "a", Payload = Payload.FromFile path)
}

/// Takes connections, calls itself too busy, and closes them.
let private serveBusily (fake: FakeScheduler) (stop: CancellationToken) : Task =
    task {
        while not stop.IsCancellationRequested do
            use! peer = fake.WelcomeAsync FakeScheduler.Welcome
            let! submit = peer.ReadJson()
            let reference = text submit "ref"

            do!
                peer.Send
                    $"""{{"type":"REJECTED","ref":"{reference}","code":"busy","message":"full"}}"""
    }

[<Tests>]
let tests =
    testList "the upload of files" [
        testTask "ends where the scheduler is lost again and again, busy in between" {
            use folder = new TempFolder()
            folder.Write("a", "x")
            let fake = new FakeScheduler()
            let stop = new CancellationTokenSource()
            let serving = serveBusily fake stop.Token
            let run = UploadRun([ upload (folder.At "a") ], true, None, (fun _ _ -> ""), silent)

            let options =
                SchedulerClientOptions(Address = fake.Address, OnNotice = Action<_> run.Notify)

            let! client = SchedulerClient.ConnectAsync options

            let! (ended: Task) =
                Task.WhenAny(run.RunAsync(client, stop.Token), Task.Delay(patience))

            stop.Cancel()
            do! client.DisposeAsync()
            do! (fake :> IAsyncDisposable).DisposeAsync()
            let! _ = Task.WhenAny(serving, Task.Delay patience)

            match ended.Exception with
            | null -> failtest "it goes on"
            | errors ->
                let error = errors.GetBaseException()
                Expect.isTrue (error :? SchedulerUnavailableException) "given up"
                Expect.stringContains error.Message $"lost {UploadRun.ReconnectionsMax} times" "why"
        }
    ]
