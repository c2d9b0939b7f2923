/// What a worker and the scheduler of a test exchange.
module FsScheduler.Execution.Tests.WorkerExchange

open System.Text.Json
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit

let welcomeOf beatMs lostAfterMs maxResult =
    FakeScheduler.WelcomeOf(beatMs, lostAfterMs, maxResult)

let welcome = FakeScheduler.Welcome

let private processOf task (stages: string) bytes =
    $"""{{"type":"PROCESS","task":{task},"attempt":1,"name":"a/b.txt","stages":[{stages}],"timeoutMs":1000,"bytes":{bytes}}}"""

let give (peer: Peer) task stages (payload: byte[]) =
    peer.Send(processOf task stages payload.Length, payload)

/// The next RESULT with its payload. READY may come before or after what was finished earlier.
let result (peer: Peer) : Task<struct (JsonElement * byte[])> =
    task {
        let! first = peer.ReadJsonExcept "BEAT"

        let! result =
            if text first "type" = "READY" then
                peer.ReadJsonExcept "BEAT"
            else
                Task.FromResult first

        Expect.equal (text result "type") "RESULT" $"{result}"

        let! bytes =
            match text result "bytes" with
            | ""
            | "0" -> Task.FromResult [||]
            | size -> peer.ReadBytes(int size)

        return struct (result, bytes)
    }
