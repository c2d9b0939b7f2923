/// Command lines: what is refused, how, and with which exit code.
module FsScheduler.System.Tests.ExecutableTests

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

/// Runs to its end: the exit code, and all that was said on stderr.
let private run start (place: Workplace) (args: string list) =
    task {
        use program: Program = start place.Path args
        let! code = program.Exit
        return struct (code, String.concat "\n" program.Errors.All, program.Output.All)
    }

/// Arguments that are refused before anything is done, and a part of what is said about them.
let private wrong: (string list * string) list = [
    [ "--pipeline"; "lower | lowr" ], "unknown stage 'lowr'; did you mean 'lower'?"
    [ "--pipeline"; "ocr" ], "or by --expect 'ocr'"
    [ "--split"; "1KiB" ], "--split: '1KiB' is less than 128KiB, the least"
    [ "--pipeline"; "" ], "the pipeline is empty"
    [ "--pipeline"; "head:many" ], "head wants a whole number"
    [ "--colour"; "blue" ], "there is no option '--colour'"
    [ "--workers"; "few" ], "--workers"
    [ "--workers"; "-1" ], "--workers: -1 is not from 0"
    [ "--drain"; "21d" ], "--drain: '21d' is not from 0 ms to 20d"
    [ "--once-timeout"; "1m" ], "--once-timeout: it needs --once"
    [ "--settle"; "5 parsecs" ], "--settle: '5 parsecs' is not a duration"
    [ "--max-payload"; "64 loads" ], "--max-payload: '64 loads' is not a size"
    [ "--beat"; "4s"; "--lost-after"; "5s" ], "--lost-after: 5000 ms is less than two beats"
    [ "--max-attempts"; "0" ], "--max-attempts: 0 is not from 1"
    [ "--on-done"; "shred" ], "--on-done: 'shred' is none of keep, move, delete"
    [ "--log-level"; "loud" ], "--log-level: 'loud' is none of"
    [ "--log-format"; "xml" ], "--log-format: 'xml' is none of"
    [ "--expect"; "o c r" ], "--expect: 'o c r' cannot be the name of a stage"
    [ "--listen"; "nowhere" ], "--listen: 'nowhere' is not an address"
    [ "--listen"; "0.0.0.0:0" ], "--token-file"
    [ "--token-file"; "nothing" ], "--token-file"
    [ "--once"; "--once" ], "--once"
]

let private wrongForWorkers: (string list * string) list = [
    [ "--connect"; "nowhere" ], "--connect: 'nowhere' is not an address"
    [ "--slots"; "0" ], "--slots: 0 is not from 1"
    [ "--stages"; "lower,ocr" ], "--stages: there is no built-in stage 'ocr'"
    [ "--name"; String('n', 201) ], "--name, in bytes: 201 is not from 1 to 200"
    [ "--give-up"; "soon" ], "--give-up: 'soon' is not a duration"
    [ "--token-file"; "nothing" ], "--token-file"
]

let private refused start cases () =
    task {
        use place = new Workplace()

        // Two at a time: they do not disturb each other.
        for pair in List.chunkBySize 2 cases do
            let! runs = Task.WhenAll [ for args, _ in pair -> run start place args ]

            for (args, part: string), struct (code, errors, output) in
                List.zip pair (List.ofArray runs) do
                Expect.equal code 2 $"{args}: {errors}"
                Expect.stringContains errors part $"{args}"
                Expect.equal output [] $"{args}: stdout is for what was asked"
                Expect.isFalse (errors.Contains "   at ") $"{args} shows a stack: {errors}"

        Expect.equal
            (Directory.GetFileSystemEntries place.Path)
            [| place.At "entrada" |]
            "nothing was begun"
    }

let private help =
    testList "--help" [
        for name, start in [ "fs-scheduler", fsScheduler; "fs-worker", fsWorker ] do
            scenario $"of {name} explains every option, once"
            <| fun () ->
                task {
                    use place = new Workplace()
                    let! struct (code, errors, output) = run start place [ "--help" ]
                    let text = String.concat "\n" output
                    Expect.equal (code, errors) (0, "") name

                    let options (part: string) = [
                        for found in Regex.Matches(part, "--[a-z-]+") -> found.Value
                    ]

                    let parts = text.Split "OPTIONS:"

                    let listed = [
                        for found in Regex.Matches(parts[1], "(?m)^    (--[a-z-]+)") ->
                            found.Groups[1].Value
                    ]

                    Expect.equal (List.sort listed) (List.sort (options parts[0])) "usage and list"
                    Expect.contains listed "--token-file" "one of them"

                    Expect.isFalse
                        (text.Contains "stdin")
                        "what only local workers need stays hidden"
                }
    ]

let private cannotStart =
    testList "what cannot start ends with 3, and says what to do:" [
        scenario "no folder to take files from"
        <| fun () ->
            task {
                use place = new Workplace()

                let! struct (code, errors, _) =
                    run fsScheduler place [ "--entrada"; "nada"; "--listen"; "127.0.0.1:0" ]

                Expect.equal code 3 errors
                Expect.stringContains errors "there is no folder 'nada'" "the message"
                Expect.stringContains errors "--entrada" "what to do"
            }

        scenario "a port that is taken"
        <| fun () ->
            task {
                use place = new Workplace()
                use taken = new TcpListener(IPAddress.Loopback, 0)
                taken.Start()

                let! struct (code, errors, _) =
                    run fsScheduler place [ "--listen"; $"{taken.LocalEndpoint}" ]

                Expect.equal code 3 errors
                Expect.stringContains errors $"cannot listen on {taken.LocalEndpoint}" "the message"
                Expect.stringContains errors "--listen" "what to do"
            }

        scenario "a file where the results should go"
        <| fun () ->
            task {
                use place = new Workplace()
                File.WriteAllText(place.At "resultados", "")
                let! struct (code, errors, _) = run fsScheduler place [ "--listen"; "127.0.0.1:0" ]
                Expect.equal code 3 errors
                Expect.stringContains errors "resultados" "the message"
            }

        scenario "a folder of results that cannot be written"
        <| fun () ->
            task {
                if OperatingSystem.IsWindows() || Environment.IsPrivilegedProcess then
                    skiptest "there is no folder that this user could not write to"

                use place = new Workplace()
                let results = place.At "resultados"
                Directory.CreateDirectory results |> ignore
                File.SetUnixFileMode(results, UnixFileMode.UserRead ||| UnixFileMode.UserExecute)
                let! struct (code, errors, _) = run fsScheduler place [ "--listen"; "127.0.0.1:0" ]

                File.SetUnixFileMode(
                    results,
                    UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute
                )

                Expect.equal code 3 errors
                Expect.stringContains errors "resultados" "the message"
            }

        scenario "a worker without a scheduler, once it gives up"
        <| fun () ->
            task {
                use place = new Workplace()
                // Bound, and nobody listens: no other process can come by it meanwhile.
                use taken =
                    new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

                taken.Bind(IPEndPoint(IPAddress.Loopback, 0))
                let address = $"{taken.LocalEndPoint}"

                let! struct (code, errors, _) =
                    run fsWorker place [ "--connect"; address; "--give-up"; "300ms" ]

                Expect.equal code 3 errors
                Expect.stringContains errors $"no scheduler at {address}" "the message"
            }
    ]

[<Tests>]
let tests =
    testList "the executables" [
        help
        scenario "the scheduler refuses what cannot be, with 2"
        <| fun () -> task { do! refused fsScheduler wrong () }
        scenario "the worker refuses what cannot be, with 2"
        <| fun () -> task { do! refused fsWorker wrongForWorkers () }
        cannotStart

        scenario "nothing to do is done, with 0"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("half.part", "not yet whole")
                place.Put(".hidden", "nobody's business")
                let! struct (scheduler, _) = startScheduler place [ "--once" ]
                use scheduler = scheduler
                let! code = scheduler.Exit
                Expect.equal (code, place.Results) (0, []) scheduler.Said
            }
    ]
