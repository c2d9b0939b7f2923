/// Random damage to frames that were right, on a live port, from a printed seed.
module FsScheduler.System.Tests.FuzzTests

open System
open System.IO
open System.Text
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.TestProgram
open FsScheduler.TestKit.Farm

let private connections = 400
let private framesEach = 8

/// `FSS_FUZZ_SEED` runs a failure again.
let private seed =
    match Int32.TryParse(Environment.GetEnvironmentVariable "FSS_FUZZ_SEED") with
    | true, seed -> seed
    | _ -> Random.Shared.Next()

let private hellos = [|
    "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"worker\",\"name\":\"fuzz\",\"stages\":[\"none\"]}\n"
    "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"client\",\"name\":\"fuzz\"}\n"
|]

let private frames = [|
    yield! hellos
    "{\"type\":\"READY\",\"slots\":4}\n"
    "{\"type\":\"BEAT\"}\n"
    "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":5}\nhello"
    "{\"type\":\"RESULT\",\"task\":2,\"attempt\":1,\"ok\":false,\"error\":\"é\",\"retry\":false}\n"
    "{\"type\":\"SUBMIT\",\"ref\":\"a\",\"name\":\"fuzz/a.txt\",\"want\":\"file\",\"bytes\":5}\nHELLO"
    "{\"type\":\"SUBMIT\",\"ref\":\"b\",\"name\":\"b\",\"pipeline\":\"lower | head:2\",\"priority\":-3,\"key\":\"k\"}\n"
    "{\"type\":\"SUBMIT\",\"ref\":\"c\",\"name\":\"../c\",\"bytes\":70000}\n"
    + String('x', 70_000)
    "{\"type\":\"STATUS\",\"nothing\":[1,{\"a\":null}]}\n"
    "{\"type\":\"LIST\",\"after\":0,\"most\":10,\"states\":[\"queued\",\"done\"],\"name\":\"*.t?t\",\"stage\":\"lower\"}\n"
    "{\"type\":\"STAGES\"}\n"
    "{\"type\":\"FETCH\",\"task\":1}\n"
    "{\"type\":\"CANCEL\",\"task\":1}\n"
    "{\"type\":\"RETRY\",\"task\":1}\n"
|]

/// What people who try to break things put into the middle of others.
let private splinters = [|
    "\n"
    "{"
    "}"
    "\""
    "\\"
    "\\ud800"
    "\000"
    "-1"
    "9007199254740993"
    "1e999"
    "null"
    "../"
    "/etc/x"
    "\"bytes\":0,"
    "\"bytes\":999999999,"
    "\"type\":\"SUBMIT\","
    "\u00ff"
    ","
|]

let private damage (random: Random) (frame: byte[]) =
    let mutable bytes = frame

    for _ in 1 .. random.Next 4 do
        let at = random.Next(bytes.Length + 1)
        let upTo = min bytes.Length (at + random.Next 12)

        bytes <-
            match random.Next 4 with
            | 0 when at < bytes.Length ->
                Array.mapi (fun i each -> if i = at then byte (random.Next 256) else each) bytes
            | 1 -> Array.append bytes[.. at - 1] bytes[upTo..]
            | 2 ->
                let splinter = Encoding.UTF8.GetBytes splinters[random.Next splinters.Length]
                Array.concat [ bytes[.. at - 1]; splinter; bytes[at..] ]
            | _ -> Array.concat [ bytes[.. upTo - 1]; bytes[at..] ]

    bytes

let private strike port (random: Random) =
    task {
        use peer = new Peer(port = port)

        try
            if random.Next 4 > 0 then
                do! peer.Write hellos[random.Next hellos.Length]

            for _ in 1..framesEach do
                do!
                    peer.Write(
                        damage random (Encoding.UTF8.GetBytes frames[random.Next frames.Length])
                    )

            peer.HalfClose()
        with
        | :? IOException
        | :? Net.Sockets.SocketException -> () // sent away already

        // Whatever it answers are frames of the protocol: `Last` reads them all.
        let! _ = peer.Last()
        ()
    }

[<Tests>]
let tests =
    scenarioAlone
        $"{connections * framesEach} damaged frames end nothing and get nowhere (seed {seed})"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, port) =
                startScheduler place [ "--max-payload"; "1MiB"; "--log-level"; "warn" ]

            use scheduler = scheduler
            use _ = startWorker place port []
            use! good = Peer.client port
            let! _ = Peer.submit good "WARM"
            let before = scheduler.Memory
            let random = Random seed

            for round in 1 .. connections / 20 do
                // Each its own sequence, so that the seed decides, and not the order of threads.
                do! Task.WhenAll [ for _ in 1..20 -> strike port (Random(random.Next())) :> Task ]
                let! answer = Peer.submit good "AINDA"
                Expect.equal answer "ainda" $"the good client goes on (seed {seed}, round {round})"

            Expect.isFalse scheduler.HasExited scheduler.Said

            Expect.isLessThan
                ((scheduler.Memory - before) / 1_048_576L)
                90L
                $"MiB more (seed {seed})"

            let top =
                Directory.EnumerateFileSystemEntries place.Path
                |> Seq.map Path.GetFileName
                |> Seq.sort
                |> List.ofSeq

            Expect.equal
                top
                [ ".fs-scheduler"; "entrada"; "resultados" ]
                $"nothing was written elsewhere (seed {seed})"

            Expect.isEmpty (Directory.EnumerateFileSystemEntries(place.At "entrada")) "nor here"
            // And files still flow.
            place.Put("after.txt", "DEPOIS")
            do! eventually "a file is done" (fun () -> place.HasResult "after.txt.out")
            Expect.equal (place.Result "after.txt.out") "depois" "its result"
            scheduler.Signal Signal.Term
            let! code = scheduler.Exit
            Expect.equal code 130 scheduler.Said
        }
