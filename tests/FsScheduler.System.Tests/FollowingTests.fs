/// Verbs that go on while schedulers come and go.
module FsScheduler.System.Tests.FollowingTests

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

/// Of a scheduler that is started again.
let private freePort () =
    use listener = new TcpListener(IPAddress.Loopback, 0)
    listener.Start()
    (listener.LocalEndpoint :?> IPEndPoint).Port

let private numberOf (line: string) =
    use document = JsonDocument.Parse line
    document.RootElement.GetProperty("number").GetInt64()

let private start (place: Workplace) (port: int) (args: string list) =
    startScheduler place ([ "--listen"; $"127.0.0.1:{port}"; "--workers"; "1" ] @ args)

let private restarts =
    scenario "watch and events --follow come back when their scheduler does, and miss nothing"
    <| fun () ->
        task {
            use place = new Workplace()
            let port = freePort ()
            let connect = [ "--connect"; $"127.0.0.1:{port}" ]
            let! struct (first, _) = start place port []

            use events = fsScheduler place.Path ([ "events"; "--follow" ] @ connect)
            use watch = fsScheduler place.Path ([ "watch"; "--json" ] @ connect)

            do!
                task {
                    use scheduler = first
                    place.Put("a.txt", "A")
                    let! _ = awaited "an event" (events.Output.First(_.Contains("completed")))
                    let! _ = awaited "a status" (watch.Output.First(fun _ -> true))
                    scheduler.Signal Signal.Kill
                    let! _ = scheduler.Exit
                    ()
                }

            let! _ = events.Says "waiting for the scheduler to come back"
            let! _ = watch.Says "waiting for the scheduler to come back"
            let before = watch.Output.All.Length
            let! struct (second, _) = start place port []
            use _ = second
            place.Put("b.txt", "B")

            do!
                eventuallyOf events patience "it has the second file" (fun () ->
                    events.Output.Count(_.Contains("completed")) = 2)

            do!
                eventuallyOf watch patience "it goes on" (fun () ->
                    watch.Output.All.Length > before)

            use all = fsScheduler place.Path ([ "events" ] @ connect)
            let! code = all.Exit
            Expect.equal code 0 all.Said
            let numbers = events.Output.All |> List.map numberOf

            Expect.equal
                numbers
                (all.Output.All |> List.map numberOf |> List.truncate numbers.Length)
                "every event once, in order"

            Expect.equal
                (events.Errors.Count(_.Contains("waiting for")))
                1
                "what is waited for is said once"

            events.Signal Signal.Term
            let! code = events.Exit
            Expect.equal code 130 events.Said
        }

let private otherJournal =
    scenario "events --follow begins again when the scheduler comes back with another journal"
    <| fun () ->
        task {
            use place = new Workplace()
            let port = freePort ()
            let! struct (first, _) = start place port []

            use events = startCommand place port [ "events"; "--follow" ]

            do!
                task {
                    use scheduler = first

                    for number in 1..5 do
                        place.Put($"{number}.txt", "A")

                    do!
                        eventuallyOf events patience "five" (fun () ->
                            events.Output.Count(_.Contains("completed")) = 5)

                    scheduler.Signal Signal.Kill
                    let! _ = scheduler.Exit
                    ()
                }

            Directory.CreateDirectory(place.At "empty") |> ignore

            let! struct (second, _) =
                start place port [ "--state"; "other"; "--entrada"; "empty" ]

            use _ = second
            let! _ = events.Says "from its first event on"

            File.WriteAllText(place.At "empty/c.txt", "C")

            do!
                eventuallyOf events patience "all of the new one" (fun () ->
                    events.Output.Count(fun line -> numberOf line = 1L) = 2)
        }

let private pausedScheduler =
    scenario "a follower does not end while its scheduler is slow"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler

            use watch = startCommand place port [ "watch"; "--json" ]

            let! _ = awaited "a status" (watch.Output.First(fun _ -> true))
            scheduler.Signal Signal.Stop
            let before = watch.Output.All.Length
            scheduler.Signal Signal.Continue

            do!
                eventuallyOf watch patience "it goes on" (fun () ->
                    watch.Output.All.Length > before + 1)

            Expect.isEmpty watch.Errors.All "nothing was wrong"
        }

/// The lines on the screen of a terminal after this output, as far as a picture needs that is drawn again and again.
let private screenOf (output: string) : string list =
    let lines = ResizeArray [ StringBuilder() ]
    let mutable row = 0
    let mutable column = 0

    let put (letter: char) =
        let line = lines[row]
        line.Append(' ', max 0 (column + 1 - line.Length)) |> ignore
        line[column] <- letter
        column <- column + 1

    let escape (count: string) (command: string) =
        let count = if count = "" then 0 else int count

        match command with
        | "A" -> row <- max 0 (row - max 1 count)
        | "K" when count = 2 -> lines[row].Clear() |> ignore
        | "K" -> lines[row].Length <- min column lines[row].Length
        | _ -> () // colours, and whether the cursor is seen

    let parts =
        Regex @"\x1b\[\??(?<count>\d*)[\d;]*(?<command>[A-Za-z])|\x1b[=>]|(?<letter>[\s\S])"

    for part in parts.Matches output do
        match part.Groups["letter"].Value with
        | "" -> escape part.Groups["count"].Value part.Groups["command"].Value
        | "\r" -> column <- 0
        | "\n" ->
            row <- row + 1

            if row = lines.Count then
                lines.Add(StringBuilder())
        | letter -> put letter[0]

    [ for line in lines -> string line ]

let private picture =
    scenario "watch in a terminal says above its table that the scheduler is away, until it is back"
    <| fun () ->
        task {
            if not (File.Exists "/usr/bin/script" && OperatingSystem.IsLinux()) then
                skiptest "it needs a terminal, which script(1) of util-linux makes"

            use place = new Workplace()
            let port = freePort ()
            let! struct (first, _) = start place port []
            let output = place.At "output"

            let command =
                $"stty rows 60 cols 120; TERM=xterm LC_ALL=C.UTF-8 exec '{schedulerPath}' watch --connect 127.0.0.1:{port}"

            use watch = new Program("/usr/bin/script", [ "-qfec"; command; output ], place.Path)

            let screen () =
                if File.Exists output then
                    use file =
                        new FileStream(output, FileMode.Open, FileAccess.Read, FileShare.ReadWrite)

                    use reader = new StreamReader(file)
                    reader.ReadLine() |> ignore // by script(1) itself
                    screenOf (reader.ReadToEnd())
                else
                    []

            let count (text: string) =
                screen () |> List.filter _.Contains(text) |> List.length

            /// The tables of tasks and workers, once each.
            let isPicture () =
                count "╭" = 2 && count "╰" = 2 && count "up for" = 1

            let isAway () =
                count "waiting for the scheduler to come back" = 1

            let wait what holds =
                task {
                    try
                        do! eventually what holds
                    with :? AssertException as failure ->
                        let lines = String.concat "\n" (screen ())
                        failtest $"{failure.Message}, on this screen:\n{lines}"
                }

            do! wait "the picture" isPicture

            do!
                task {
                    use scheduler = first
                    scheduler.Signal Signal.Kill
                    let! _ = scheduler.Exit
                    ()
                }

            do! wait "the picture, and that it waits" (fun () -> isAway () && isPicture ())
            let! struct (second, _) = start place port []
            use _ = second
            do! wait "the picture alone" (fun () -> count "waiting for the sch" = 0 && isPicture ())
        }

let private refusedAgain =
    scenario "a file that is refused after a reconnect has failed, and is not waited for"
    <| fun () ->
        task {
            use place = new Workplace()
            File.WriteAllText(place.At "a.txt", "A")
            use fake = new FakeScheduler()

            use submit = startCommand place fake.Port [ "submit"; "a.txt" ]

            let meet (answer: Peer -> Received -> Task) =
                task {
                    let! peer = fake.WelcomeAsync FakeScheduler.Welcome
                    use peer = peer
                    let! file = peer.Expect "SUBMIT"
                    do! answer peer file
                }

            do!
                meet (fun peer file ->
                    let ref = file.Text "ref"
                    peer.Send $$"""{"type":"ACCEPTED","ref":"{{ref}}","task":1}""")

            do!
                meet (fun peer file ->
                    task {
                        let ref = file.Text "ref"

                        do!
                            peer.Send
                                $$"""{"type":"REJECTED","ref":"{{ref}}","code":"bad-pipeline","message":"unknown stage 'x'"}"""

                        let! _ = awaited "the end" submit.Exit
                        ()
                    })

            let! code = submit.Exit
            Expect.equal code 1 submit.Said
            Expect.stringContains submit.Said "unknown stage 'x'" "why"
        }

[<Tests>]
let tests =
    testList "following" [ restarts; otherJournal; picture; refusedAgain; pausedScheduler ]
