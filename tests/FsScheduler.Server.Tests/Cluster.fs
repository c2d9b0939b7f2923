/// A scheduler in this process.
module FsScheduler.Server.Tests.Cluster

open System
open System.IO
open System.Net
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.TestKit

let settings: Settings = {
    Settings.defaults (pipelineOf "lower") with
        expected = [| "own" |]
        seed = 1UL
}

let tokens =
    match Tokens.parse "worker of-the-workers-0001\nclient of-the-clients-0001" with
    | Ok tokens -> tokens
    | Error reason -> failwith reason

let hello role =
    $"""{{"type":"HELLO","protocol":1,"role":"{role}","name":"x"}}"""

let submit ref want bytes =
    $"""{{"type":"SUBMIT","ref":"{ref}","name":"{ref}.txt","pipeline":"lower","want":"{want}","bytes":{bytes}}}"""

/// The next line of a peer, which has this type; a BEAT counts.
let next (kind: string) (peer: Peer) : Task<JsonElement> =
    task {
        let! line = peer.ReadJson()
        Expect.equal (text line "type") kind $"{line}"
        return line
    }

/// As `next`, for a line that has nothing else to look at.
let expectNext kind peer : Task = next kind peer

/// Asks for an answer of the same type, which comes after all that the scheduler has done before.
let expectAnswer kind (peer: Peer) =
    task {
        do! peer.Send $"""{{"type":"{kind}"}}"""
        return! next kind peer
    }

/// A scheduler of this process, on folders and a port of its own.
type Cluster(change: SchedulerOptions -> SchedulerOptions) =
    let folder = new TempFolder()
    let time = HandTime()
    let state = new StateFolder(folder.At "state")
    let clock = Clock time
    let outage = StorageOutage NullLogger.Instance

    let options =
        for name in [ "entrada"; "resultados" ] do
            Directory.CreateDirectory(folder.At name) |> ignore

        change {
            listen = IPEndPoint(IPAddress.Loopback, 0)
            entrada = folder.At "entrada"
            ignored = IgnoreRules.BuiltIn
            resultados = folder.At "resultados"
            state = state
            sync = Sync.Normal
            settings = settings
            rules = {
                tokens = None
                maxPayload = 64L * 1024L * 1024L * 1L<B>
                maxResult = 64L * 1024L * 1024L * 1L<B>
            }
            beat = 1_000L<ms>
            settle = 0L<ms>
            onDone = OnDone.Keep
            again = false
            sharesFiles = false
            routes = []
            openJournal =
                fun () ->
                    StateJournal.over (new MemoryStore()) (Guid.NewGuid()) state.Path outage clock
            retention = { age = 1_000_000_000_000L<ms>; bytes = 1_000_000_000_000L<B> }
            outage = outage
            clock = clock
            log = NullLogger.Instance
        }

    let server =
        try
            SchedulerServer.StartAsync(options).GetAwaiter().GetResult()
        with _ ->
            (state :> IDisposable).Dispose()
            (folder :> IDisposable).Dispose()
            reraise ()

    member _.Server = server
    member _.Journal = server.Journal
    member _.Time = time
    member _.Folder = folder

    /// Puts an input into its folder, whole at once: the scheduler may look at any time.
    member _.Put(name: string, text: string) =
        folder.Write($"put/{name}", text)
        File.Move(folder.At $"put/{name}", folder.At $"entrada/{name}")

    member _.Address = string server.EndPoint

    member _.ConnectAsync() =
        Task.FromResult(new Peer(server.EndPoint))

    /// Files that wait in the spool folder.
    member _.Spooled = Directory.GetFiles(folder.At "state/spool")

    /// A peer that has said HELLO and read WELCOME.
    member cluster.JoinAsync(hello: string) =
        task {
            let! peer = cluster.ConnectAsync()
            do! peer.Send hello
            do! expectNext "WELCOME" peer
            return peer
        }

    member cluster.WorkerAsync(stages: string, slots: int) =
        task {
            let! peer =
                cluster.JoinAsync
                    $"""{{"type":"HELLO","protocol":1,"role":"worker","name":"w","stages":[{stages}]}}"""

            do! peer.Send $"""{{"type":"READY","slots":{slots}}}"""
            return peer
        }

    member cluster.ClientAsync() =
        cluster.JoinAsync """{"type":"HELLO","protocol":1,"role":"client","name":"c"}"""

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            ValueTask(
                task {
                    do! (server :> IAsyncDisposable).DisposeAsync()
                    (state :> IDisposable).Dispose()
                    (folder :> IDisposable).Dispose()
                }
                :> Task
            )
