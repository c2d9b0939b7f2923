/// The promise of the whole: workers may die and hang, and every file comes out, right, whole and once.
module FsScheduler.System.Tests.LossTests

open System
open System.Collections.Concurrent
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.System.Tests.Farm

let private files = 2_000
let private slots = 32

/// Of very different lengths: some fill a packet, some several reads.
let private text number =
    let line =
        $"Ficheiro {number}: O SCHEDULER DEVE BALANCEAR A CARGA ENTRE NÓS. AÇÃO!\n"

    String.replicate (1 + (if number % 50 = 0 then 2_000 else number % 7)) line

let private name number = $"pasta{number % 10}/f{number:D4}.txt"

/// What results must be, by name.
let private expected =
    lazy
        (dict [
            for number in 0..files do
                name number + ".out", Encoding.UTF8.GetBytes((text number).ToLowerInvariant())
        ])

/// Reads whatever stands under a final name, again and again: it must always be whole.
let private watchResults (place: Workplace) (stop: CancellationToken) =
    let partial = ConcurrentQueue<string>()

    let look () =
        task {
            let mutable looks = 0

            while not stop.IsCancellationRequested do
                for result in place.Results do
                    // Those with a dot in front are temporary.
                    if not ((nonNull (Path.GetFileName result)).StartsWith '.') then
                        let bytes = File.ReadAllBytes(place.At $"resultados/{result}")
                        looks <- looks + 1

                        match expected.Value.TryGetValue result with
                        | true, right when right.AsSpan().SequenceEqual(ReadOnlySpan bytes) -> ()
                        | _ -> partial.Enqueue $"{result} has {bytes.Length} bytes"

                do! Task.Yield()

            return struct (looks, List.ofSeq partial)
        }

    Task.Run<struct (int * string list)> look

/// How many tasks the worker of that name holds, by STATUS.
let private held (client: Peer) (worker: string) =
    task {
        do! client.Send "{\"type\":\"STATUS\"}\n"
        let! status = client.Expect "STATUS"

        return
            status.line.GetProperty("workers").EnumerateArray()
            |> Seq.filter (fun each -> each.GetProperty("name").GetString() = worker)
            |> Seq.sumBy (fun each -> each.GetProperty("held").GetInt32())
    }

let private joined (line: string) = line.Contains " joined as session "

let tests =
    scenario
        "2,000 files, 3 workers, one killed, one stopped until it is lost: nothing is lost, nothing partial"
    <| fun () ->
        task {
            use place = new Workplace()

            for number in 0 .. files - 1 do
                place.Put(name number, text number)

            // Fresh, so that it has not settled: the job goes on until the stopped worker is back.
            let last = place.At("entrada/" + name files)
            File.WriteAllText(last, "half of")

            let! struct (scheduler, port) =
                startScheduler place [ "--once"; "--lost-after"; "1s"; "--settle"; "1h" ]

            use scheduler = scheduler
            use stop = new CancellationTokenSource()
            let watching = watchResults place stop.Token
            use! client = Peer.client port

            let start each =
                startWorker place port [ "--name"; each; "--slots"; string slots ]

            // The first two alone, so that both are at it when they are struck.
            use killed = start "killed"
            use stopped = start "stopped"
            let! _ = killed.Says "is session"
            let! _ = stopped.Says "is session"
            do! eventually "the first hundred are done" (fun () -> place.Results.Length > 100)
            stopped.Signal Signal.Stop
            killed.Signal Signal.Kill
            let mutable waiting = 0

            while waiting < slots && place.Results.Length < files do
                let! count = held client "stopped"
                waiting <- count

            Expect.equal waiting slots "the stopped one is held to do all that fits into its slots"
            Expect.isLessThan place.Results.Length files "and so not all can be done"
            use third = start "third"
            let! lost = scheduler.Says "is disconnected: silent for"
            Expect.stringStarts (lost.Substring(lost.IndexOf "stopped")) "stopped" "who was lost"
            stopped.Signal Signal.Continue
            do! eventually "it is back" (fun () -> scheduler.Errors.Count joined = 4)
            place.Rename(name files, text files)
            let! code = scheduler.Exit
            stop.Cancel()
            let! struct (looks, partial) = watching
            Expect.equal code 0 scheduler.Said
            Expect.equal partial [] "what was seen under a final name, and was not whole"
            Expect.isGreaterThan looks files "it has looked"

            Expect.equal
                place.Results
                (List.sort (List.ofSeq expected.Value.Keys))
                "all, and nothing else"

            for KeyValue(result, right) in expected.Value do
                Expect.equal (File.ReadAllBytes(place.At $"resultados/{result}")) right result

            Expect.isEmpty
                (Directory.EnumerateFiles(
                    place.At ".fs-scheduler",
                    "*",
                    SearchOption.AllDirectories
                ))
                "its own folder"
        }
