namespace FsScheduler.TestKit

open System
open System.Collections.Concurrent
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto

/// A scheduler that says what the test says.
type FakeScheduler() =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    do listener.Start()

    // A socket that the test does not name any more is closed by the garbage collector, and its peer goes on alone.
    let peers = ConcurrentBag<Peer>()

    /// A WELCOME with these limits: milliseconds, and bytes of a result.
    static member WelcomeOf(beatMs: int, lostAfterMs: int, maxResult: int) =
        $"""{{"type":"WELCOME","protocol":1,"session":"1","beatMs":{beatMs},"lostAfterMs":{lostAfterMs},"maxPayload":1000000000,"maxResult":{maxResult}}}"""

    /// A WELCOME in which nothing is soon late or too large.
    static member Welcome = FakeScheduler.WelcomeOf(60_000, 60_000, 1_000_000_000)

    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port
    member _.Address = string listener.LocalEndpoint

    /// Of connections from now on: what is not read stays with the peer.
    member _.BufferLittle() =
        listener.Server.ReceiveBufferSize <- 64 * 1024

    member _.AcceptAsync() : Task<Peer> =
        task {
            let! socket = within (listener.AcceptSocketAsync())
            let peer = new Peer(socket)
            peers.Add peer
            return peer
        }

    /// A peer that was taken in: after its HELLO.
    member fake.WelcomeAsync(welcome: string) : Task<Peer> =
        task {
            let! peer = fake.AcceptAsync()
            let! hello = peer.ReadJson()
            Expect.equal (text hello "type") "HELLO" "first"
            do! peer.Send welcome
            return peer
        }

    /// A worker that was taken in: after its HELLO and READY.
    member fake.WelcomeWorkerAsync(welcome: string) : Task<Peer> =
        task {
            let! peer = fake.WelcomeAsync welcome
            let! ready = peer.ReadJson()
            Expect.equal (text ready "type") "READY" "then"
            return peer
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            listener.Stop()

            for peer in peers do
                (peer :> IDisposable).Dispose()

            ValueTask.CompletedTask
