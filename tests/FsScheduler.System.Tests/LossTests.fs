/// The promise of the whole: workers may die and hang, and every file comes out, right, whole and once.
module FsScheduler.System.Tests.LossTests

open System
open System.Collections.Concurrent
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.TestProgram
open FsScheduler.TestKit.Farm

let private files = 2_000
let private firstFiles = 500
let private slots = 32

/// Of very different lengths: some fill a packet, some several reads.
let private text number =
    let line =
        $"Ficheiro {number}: O SCHEDULER DEVE BALANCEAR A CARGA ENTRE NÓS. AÇÃO!\n"

    String.replicate (1 + (if number % 50 = 0 then 2_000 else number % 7)) line

let private name number =
    let folder =
        if number < firstFiles || number = files then
            "primeira"
        else
            "segunda"

    $"{folder}/{number % 10}/f{number:D4}.txt"

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

/// Whether the log has a line about that worker with this text.
let private said (scheduler: Program) (worker: string) (text: string) =
    scheduler.Errors.Count(fun line -> line.Contains $"{worker} (" && line.Contains text)

/// How many tasks the worker of that name holds, or None if it is not there.
let private held (client: Peer) (worker: string) =
    task {
        do! client.Write "{\"type\":\"STATUS\"}\n"
        let! status = client.Expect "STATUS"

        return
            status.line.GetProperty("workers").EnumerateArray()
            |> Seq.tryFind (fun each -> each.GetProperty("name").GetString() = worker)
            |> Option.map (fun each -> each.GetProperty("held").GetInt32())
    }

/// Waits until a worker that does not answer has been given all that it takes.
let private untilFull (client: Peer) (worker: string) =
    task {
        let mutable isWaiting = true

        while isWaiting do
            let! count = held client worker
            // Gone: on a machine as slow as that, it was lost before anybody looked.
            isWaiting <- Option.exists (fun count -> count < slots) count
    }
    |> awaited $"{worker} is given {slots} files"

let private run (place: Workplace) =
    task {
        for number in 0 .. firstFiles - 1 do
            place.Put(name number, text number)

        let! struct (scheduler, port) =
            startScheduler place [ "--once"; "--lost-after"; "1s"; "--settle"; "1h" ]

        use scheduler = scheduler
        use! client = Peer.client port

        let start worker =
            startWorker place port [ "--name"; worker; "--slots"; string slots ]

        // Fresh, so that it has not settled: the job goes on until it is renamed over.
        let last = place.At("entrada/" + name files)
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName last)) |> ignore
        File.WriteAllText(last, "half of")

        for number in firstFiles .. files - 1 do
            place.Put("../aside/" + name number, text number)

        use killed = start "killed"
        use stopped = start "stopped"
        use third = start "third"

        for worker in [ killed; stopped; third ] do
            let! _ = worker.Says "is session"
            ()

        do! eventually "the first files are done" (fun () -> place.Results.Length = firstFiles)
        // Both are given as many of the next files as they have slots for, and all of them hang.
        killed.Signal Signal.Stop
        stopped.Signal Signal.Stop
        Directory.Move(place.At "aside/segunda", place.At "entrada/segunda")
        do! untilFull client "killed"
        do! untilFull client "stopped"
        killed.Signal Signal.Kill

        let isLost () =
            said scheduler "stopped" "silent for" > 0

        do! eventually "the stopped one is lost" isLost
        stopped.Signal Signal.Continue

        let isBack () =
            said scheduler "stopped" " joined as session " > 1

        do! eventually "it is back" isBack
        do! eventually "all but the last are done" (fun () -> place.Results.Length = files)
        place.Rename(name files, text files)
        let! code = scheduler.Exit
        Expect.equal code 0 scheduler.Said
    }

[<Tests>]
let tests =
    scenarioAlone
        "2,000 files, 3 workers, one killed, one stopped until it is lost: nothing is lost, nothing partial"
    <| fun () ->
        task {
            use place = new Workplace()
            use stop = new CancellationTokenSource()
            let watching = watchResults place stop.Token

            try
                do! run place
            finally
                stop.Cancel()

            let! struct (looks, partial) = watching
            Expect.equal partial [] "what was seen under a final name, and was not whole"
            Expect.isGreaterThan looks files "results that were looked at while it ran"

            Expect.equal
                place.Results
                (List.sort (List.ofSeq expected.Value.Keys))
                "all, and nothing else"

            for KeyValue(result, right) in expected.Value do
                let bytes = File.ReadAllBytes(place.At $"resultados/{result}")
                Expect.isTrue (bytes.AsSpan().SequenceEqual(ReadOnlySpan right)) result

            Expect.isEmpty
                (Directory.EnumerateFiles(
                    Path.Combine(place.At ".fs-scheduler", "spool"),
                    "*",
                    SearchOption.AllDirectories
                ))
                "its own folder"
        }
