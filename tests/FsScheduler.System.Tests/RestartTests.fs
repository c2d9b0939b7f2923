/// Schedulers that are killed, at any moment, and started again.
module FsScheduler.System.Tests.RestartTests

open System
open System.IO
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.TestProgram
open FsScheduler.TestKit.Farm

let private free (place: Workplace) (port: int) args =
    startScheduler
        place
        ([ "--listen"; $"127.0.0.1:{port}"; "--settle"; "0ms"; "--lost-after"; "2s" ]
         @ args)

let private kill (scheduler: Program) =
    task {
        scheduler.Signal Signal.Kill
        let! _ = scheduler.Exit
        (scheduler :> IDisposable).Dispose()
    }

let private submit (client: Peer) (ref: string) (fields: string) (payload: byte[]) =
    task {
        do!
            client.Write
                $"{{\"type\":\"SUBMIT\",\"ref\":\"{ref}\",\"name\":\"n\",{fields}\"bytes\":{payload.Length}}}\n"

        do! client.Write payload
    }

/// What anybody can ask who has the file: the first value of the first row, or null.
let private ask (place: Workplace) (sql: string) : obj | null =
    use connection =
        new Microsoft.Data.Sqlite.SqliteConnection(
            "Data Source="
            + place.At ".fs-scheduler/journal.db"
            + ";Mode=ReadOnly;Pooling=False"
        )

    connection.Open()
    use command = connection.CreateCommand(CommandText = sql)
    command.ExecuteScalar()

let private query place sql = Convert.ToInt64(ask place sql)

/// The questions in the documentation.
let private documented =
    let text = File.ReadAllText(Path.Combine(Repository.root, "docs", "guarantees.md"))

    [
        for found in Regex.Matches(text, "sqlite3 \\.fs-scheduler/journal\\.db \"([^\"]+)\"") do
            found.Groups[1].Value
    ]

let private files =
    scenario "loses no file, makes none twice, and publishes each once"
    <| fun () ->
        task {
            use place = new Workplace()
            let count = 1_500
            let text number = $"FICHEIRO NÚMERO {number}: AÇÃO!\n"

            for number in 1..count do
                place.Put($"d{number % 7}/f{number}.txt", text number)

            let! struct (first, port) = startScheduler place [ "--settle"; "0ms" ]
            use worker = startWorker place port [ "--slots"; "8" ]
            let mutable scheduler = first
            let random = Random 1

            for kill' in 1..4 do
                let goal = kill' * count / 6

                do!
                    eventually $"{goal} results" (fun () ->
                        scheduler.HasExited || List.length place.Results >= goal)

                do! Task.Delay(random.Next 30) // any moment
                do! kill scheduler
                let! struct (next, _) = free place port []
                scheduler <- next

            do! eventually "all results" (fun () -> List.length place.Results >= count)

            for number in 1..count do
                let result = place.Result $"d{number % 7}/f{number}.txt.out"
                Expect.equal result ((text number).ToLowerInvariant()) "result"

            do!
                eventually "all are recorded" (fun () ->
                    query place "select count(*) from event where event = 'completed'" =
                        int64 count)

            Expect.equal
                (query place "select count(*) from event where event = 'submitted'")
                (int64 count)
                "a task each"

            Expect.hasLength documented 5 "the questions in the documentation"

            for sql in documented do
                ask place sql |> ignore // raises where SQLite does not understand it

            let slowest = documented |> List.find _.Contains("as seconds")
            Expect.isNotNull (ask place slowest) "and one has an answer"

            Expect.equal
                (query
                    place
                    "select count(*) from (select task, attempt from event where event = 'assigned' group by 1, 2 having count(*) > 1)")
                0L
                "no attempt twice"

            do! kill scheduler
        }

let private clients =
    scenario "keeps what it accepted, and gives the same end for the same key"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (first, port) = startScheduler place []

            do!
                task {
                    use! client = Peer.client port
                    do! submit client "a" "\"key\":\"k\"," "SIM"B
                    let! accepted = client.Expect "ACCEPTED"
                    Expect.equal (accepted.Number "task") 1L "task"
                    do! submit client "b" "\"want\":\"file\"," "FIM"B
                    let! _ = client.Expect "ACCEPTED"
                    do! submit client "c" "\"key\":\"large\"," (Array.create 300_000 (byte 'X'))
                    let! _ = client.Expect "ACCEPTED"
                    ()
                }

            do! kill first
            let! struct (second, _) = free place port [ "--workers"; "1" ]

            do!
                task {
                    use! client = Peer.client port
                    do! submit client "again" "\"key\":\"k\"," "SIM"B
                    let! accepted = client.Expect "ACCEPTED"
                    Expect.equal (accepted.Number "task") 1L "the same task"
                    let! outcome = client.Expect "DONE"
                    Expect.equal outcome.payload "sim"B "its result"
                    do! eventually "the file" (fun () -> place.HasResult "n.out")

                    do!
                        eventually "the last one is recorded" (fun () ->
                            query place "select count(*) from event where event = 'completed'" = 3L)
                }

            do! kill second
            let! struct (third, _) = free place port []
            use! client = Peer.client port
            do! submit client "later" "\"key\":\"k\"," "SIM"B
            let! _ = client.Expect "ACCEPTED"
            let! outcome = client.Expect "DONE"
            Expect.equal outcome.payload "sim"B "kept, though nobody works any more"
            do! submit client "large" "\"key\":\"large\"," (Array.create 300_000 (byte 'X'))
            let! accepted = client.Expect "ACCEPTED"
            Expect.equal (accepted.Number "task") 3L "the same task"
            let! outcome = client.Expect "DONE"
            Expect.equal outcome.payload (Array.create 300_000 (byte 'x')) "from its file"
            do! kill third
        }

let private running =
    scenario "lets a worker go on with what it holds"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (first, port) = startScheduler place [ "--expect"; "own" ]
            use! worker = Peer.worker port "\"own\"" 2
            use! client = Peer.client port
            do! submit client "a" "\"pipeline\":\"own\",\"key\":\"k\"," "x"B
            let! _ = worker.Expect "PROCESS"
            do! kill first
            let! struct (second, _) = free place port []
            use back = new Peer(port)

            do!
                back.Write(
                    "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"worker\",\"name\":\"peer\",\"stages\":[\"own\"],"
                    + "\"holding\":[[1,1],[9,9]]}\n{\"type\":\"READY\",\"slots\":2}\n"
                )

            let! welcome = back.Expect "WELCOME"
            Expect.equal (welcome.Text "keep") "[[1,1]]" "its own, and no other"

            do!
                back.Write
                    "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":2}\nok"

            use! again = Peer.client port
            do! submit again "b" "\"pipeline\":\"own\",\"key\":\"k\"," "x"B
            let! _ = again.Expect "ACCEPTED"
            let! outcome = again.Expect "DONE"

            Expect.equal
                (outcome.payload, outcome.Number "attempts")
                ("ok"B, 1L)
                "the first attempt"

            do! kill second
        }

let private alone =
    scenario "is alone with its state"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (first, _) = startScheduler place []
            use first = first
            use second = fsScheduler place.Path [ "--listen"; "127.0.0.1:0" ]
            let! exit = second.Exit
            Expect.equal exit 3 "exit code"
            Expect.stringContains second.Said "another scheduler works with the folder" "why"
        }

let private damaged =
    scenario "refuses a damaged journal, which check reports and repairs"
    <| fun () ->
        task {
            use place = new Workplace()
            let count = 200

            for number in 1..count do
                place.Put($"{number}.txt", "UM")

            let! struct (scheduler, _) = startScheduler place [ "--workers"; "1" ]
            do! eventually "the results" (fun () -> List.length place.Results = count)
            scheduler.Signal Signal.Term
            let! _ = scheduler.Exit
            let journal = place.At ".fs-scheduler/journal.db"

            let check args =
                task {
                    use program = fsScheduler place.Path ("check" :: args)
                    let! exit = program.Exit
                    return exit, program.Said
                }

            let! whole = check []
            Expect.equal (fst whole) 0 (snd whole)
            File.WriteAllBytes(journal, File.ReadAllBytes(journal)[..60_000])
            use refused = fsScheduler place.Path [ "--once"; "--listen"; "127.0.0.1:0" ]
            let! exit = refused.Exit
            Expect.equal exit 3 "exit code"
            Expect.stringContains refused.Said "fs-scheduler check" "what to do"
            let cut = File.ReadAllBytes journal
            File.WriteAllBytes(journal, [||])
            use emptied = fsScheduler place.Path [ "--once"; "--listen"; "127.0.0.1:0" ]
            let! exit = emptied.Exit
            Expect.equal exit 3 "exit code"
            Expect.stringContains emptied.Said "is missing or empty" "what is wrong"
            File.WriteAllBytes(journal, cut)
            let! repaired = check [ "--repair" ]
            Expect.equal (fst repaired) 1 (snd repaired)

            Expect.isTrue (File.Exists(place.At ".fs-scheduler/journal.repaired.db")) (snd repaired)
        }

let private fullDisk =
    scenario "waits for room when the disk is full, and loses nothing"
    <| fun () ->
        task {
            use place = new Workplace()
            let disk = place.At "disk"
            Directory.CreateDirectory disk |> ignore

            if
                not (OperatingSystem.IsLinux())
                || Environment.UserName <> "root"
                || not (tryMountTmpfs "size=8m" disk)
            then
                skiptest "no small file system can be made here"

            try
                let! struct (scheduler, port) =
                    startScheduler place [
                        "--state"
                        Path.Combine(disk, "state")
                        "--workers"
                        "1"
                    ]

                use scheduler = scheduler
                use! client = Peer.client port
                do! submit client "before" "\"want\":\"none\"," "A"B
                let! _ = client.Expect "ACCEPTED"
                let! _ = client.Expect "DONE"
                let filler = Path.Combine(disk, "filler")

                use room = new FileStream(filler, FileMode.Create)
                let block = Array.zeroCreate<byte> 65_536

                try
                    while true do
                        room.Write(block, 0, block.Length)
                        room.Flush()
                with :? IOException ->
                    ()

                // Until the log of the journal needs room that is not there.
                let isHeld =
                    scheduler.Errors.First(fun line -> line.Contains "new work is held back")

                let mutable sent = 0
                let mutable answer = client.TryReceive()

                while not isHeld.IsCompleted do
                    do! submit client "in" "\"want\":\"none\"," (Array.create 60_000 (byte 'A'))
                    sent <- sent + 1
                    let! _ = Task.WhenAny(answer :> Task, isHeld) |> awaited "room or none"

                    if answer.IsCompleted then
                        answer <- client.TryReceive()

                    if sent > 500 then
                        failtest "the disk is never full"

                use! other = Peer.client port
                do! submit other "held" "" "B"B
                let! refused = other.Expect "REJECTED"
                Expect.equal (refused.Text "code") "busy" $"{refused}"
                do! other.Write "{\"type\":\"STATUS\"}\n"
                let! status = other.Expect "STATUS"

                Expect.stringContains
                    (status.Text "trouble")
                    "journal.db"
                    "what holds it up, and where"

                room.Dispose()
                File.Delete filler
                let! _ = scheduler.Errors.First(fun line -> line.Contains "it works again")
                do! submit other "after" "" "B"B
                let! _ = other.Expect "ACCEPTED"
                let! outcome = other.Expect "DONE"
                Expect.equal outcome.payload "b"B "it goes on"
            finally
                unmountNow disk
        }

[<Tests>]
let tests =
    oneByOne
    <| testList "a scheduler that is started again" [
        files
        clients
        running
        alone
        damaged
        fullDisk
    ]
