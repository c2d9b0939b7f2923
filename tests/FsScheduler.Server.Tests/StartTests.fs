/// A server that cannot start, and what it leaves.
module FsScheduler.Server.Tests.StartTests

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Journal
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Journal.Tests.JournalSupport
open FsScheduler.Server.Tests.Cluster

let private freePort () =
    use listener = new TcpListener(IPAddress.Loopback, 0)
    listener.Start()
    listener.LocalEndpoint :?> IPEndPoint

let private expectFree (port: IPEndPoint) =
    use listener = new TcpListener(port)
    listener.Start()

let private start change () =
    (new Cluster(change) :> IAsyncDisposable).DisposeAsync().AsTask().Wait()

[<Tests>]
let tests =
    testList "a server" [
        testTask "whose port is taken does not open its journal" {
            use other = new Cluster(id)
            let opened = ref false

            let change options = {
                options with
                    listen = other.Server.EndPoint
                    openJournal =
                        fun () ->
                            opened.Value <- true
                            options.openJournal ()
            }

            Expect.throwsT<SocketException> (start change) "the port"
            Expect.isFalse opened.Value "the journal"
        }

        test "whose journal is refused lets its port go" {
            let port = freePort ()

            let change options = {
                options with
                    listen = port
                    openJournal = fun () -> raise (JournalRefused "damaged")
            }

            Expect.throwsT<JournalRefused> (start change) "the journal"
            expectFree port
        }

        testTask "whose folder cannot be used closes its journal, and lets its port go" {
            let port = freePort ()
            let journal = ref Unchecked.defaultof<Journal>

            let change options =
                Directory.Delete options.resultados
                File.WriteAllText(options.resultados, "a file")

                {
                    options with
                        listen = port
                        openJournal =
                            fun () ->
                                journal.Value <- options.openJournal ()
                                journal.Value
                }

            Expect.throwsT<IOException> (start change) "the folder"
            expectFree port
            let appended = append journal.Value 1L [ Event.Gone "a" ]
            do! appended.ContinueWith(fun (_: Task) -> ()) |> ended
            Expect.isTrue appended.IsFaulted "closed"
        }
    ]
