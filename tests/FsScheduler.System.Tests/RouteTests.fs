/// Which pipeline a file gets: by its name, by what stands in its folder, and what `plan` says of it.
module FsScheduler.System.Tests.RouteTests

open System.IO
open System.Text.Json
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

let private routes = [ "--route"; "*.csv=grep:erro | lines"; "--route"; "cartas/**=upper" ]

let private fill (place: Workplace) =
    place.Put("a.txt", "Ação")
    place.Put("log.csv", "erro 1\nok\nerro 2\n")
    place.Put("cartas/b.txt", "olá")
    place.Put("cartas/c.csv", "erro\n")
    place.Put("sub/pipeline.txt", "upper |\n  trim\n")
    place.Put("sub/d.txt", "  é  ")
    place.Put("sub/mais/e.csv", " ó ")
    place.Put("sub/mais/f/pipeline.txt", "\uFEFFbytes")
    place.Put("sub/mais/f/g.txt", "12345")
    place.Put("pipeline.txt", "NO PIPELINE, BUT AN INPUT")

[<Tests>]
let tests =
    testList "routes" [
        scenario "a file goes through the pipeline of its folder, of its name, or the scheduler's"
        <| fun () ->
            task {
                use place = new Workplace()
                fill place
                let! struct (code, scheduler) = once place routes
                Expect.equal code 0 scheduler.Said

                let expected = [
                    "a.txt.out", "ação"
                    "cartas/b.txt.out", "OLÁ"
                    "cartas/c.csv.out", "1\n"
                    "log.csv.out", "2\n"
                    "pipeline.txt.out", "no pipeline, but an input"
                    "sub/d.txt.out", "É"
                    "sub/mais/e.csv.out", "Ó"
                    "sub/mais/f/g.txt.out", "5\n"
                ]

                Expect.equal
                    [ for name in place.Results -> name, place.Result name ]
                    expected
                    scheduler.Said
            }

        scenario "plan says the same, and touches nothing"
        <| fun () ->
            task {
                use place = new Workplace()
                fill place
                use plan = fsScheduler place.Path ([ "plan"; "--json" ] @ routes)
                let! code = plan.Exit
                Expect.equal code 0 plan.Said

                let planned = [
                    for line in plan.Output.All do
                        let json = JsonDocument.Parse(line).RootElement
                        let text (field: string) = json.GetProperty(field).GetString()
                        text "name", text "pipeline", text "from"
                ]

                Expect.equal
                    planned
                    [
                        "a.txt", "lower", "--pipeline"
                        "cartas/b.txt", "upper", "--route 'cartas/**'"
                        "cartas/c.csv", "grep:erro | lines", "--route '*.csv'"
                        "log.csv", "grep:erro | lines", "--route '*.csv'"
                        "pipeline.txt", "lower", "--pipeline"
                        "sub/d.txt", "upper | trim", "sub/pipeline.txt"
                        "sub/mais/e.csv", "upper | trim", "sub/pipeline.txt"
                        "sub/mais/f/g.txt", "bytes", "sub/mais/f/pipeline.txt"
                    ]
                    plan.Said

                Expect.isEmpty place.Results "results"
                Expect.isFalse (Directory.Exists(place.At ".fs-scheduler")) "no state"
            }

        scenario "patterns are those of a shell, and plan names those that no file goes through"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("dados.csv", "a")
                place.Put("e\u0301.txt", "a")
                place.Put("sub/x.tsv", "a")

                use plan =
                    fsScheduler place.Path [
                        "plan"
                        "--json"
                        "--route"
                        "*.CSV=lower"
                        "--route"
                        "*.{csv,tsv}=upper"
                        "--route"
                        "./[é]*=trim"
                        "--route"
                        "./*.tsv=nfc"
                    ]

                let! code = plan.Exit
                Expect.equal code 0 plan.Said

                let from = [
                    for line in plan.Output.All do
                        (JsonDocument.Parse line).RootElement.GetProperty("from").GetString()
                ]

                Expect.equal
                    (List.sort from)
                    [ "--route '*.{csv,tsv}'"; "--route '*.{csv,tsv}'"; "--route './[é]*'" ]
                    plan.Said

                Expect.stringContains
                    plan.Said
                    "the route '*.CSV' fits none of the files; 'dados.csv' differs only in upper and lower case"
                    "case"

                Expect.stringContains
                    plan.Said
                    "the route './*.tsv' fits none of the files"
                    "nothing"
            }

        scenario "a pipeline.txt that is none holds back the files there, until it is put right"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "A")
                place.Put("sub/pipeline.txt", "lower |")
                place.Put("sub/b.txt", "É")
                let! struct (scheduler, _) = startScheduler place [ "--workers"; "1" ]
                use scheduler = scheduler
                let! line = scheduler.Says "sub/pipeline.txt is no pipeline"
                Expect.stringContains line "empty stage at character" "what is wrong"
                do! eventually "the others are done" (fun () -> place.Results = [ "a.txt.out" ])
                place.Put("sub/pipeline.txt", "upper")

                do!
                    eventually "it is put right" (fun () ->
                        place.Results = [ "a.txt.out"; "sub/b.txt.out" ])

                Expect.equal (place.Result "sub/b.txt.out") "É" "the new pipeline"
                place.Put("sub/pipeline.txt", "| lower")
                place.Put("sub/c.txt", "C")
                let! _ = scheduler.Says "empty stage at character 1"
                File.Delete(place.At "entrada/sub/pipeline.txt")

                do!
                    eventually "it is removed" (fun () ->
                        place.Results = [ "a.txt.out"; "sub/b.txt.out"; "sub/c.txt.out" ])

                Expect.equal (place.Result "sub/c.txt.out") "c" "the scheduler's own"
            }

        scenario "with --once such files are counted as refused: exit code 1; plan says why"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "A")
                place.Put("sub/pipeline.txt", [| 0xFFuy |])
                place.Put("sub/b.txt", "B")
                let! _ = expectOnce place [] 1 [ "a.txt.out" ]
                use plan = fsScheduler place.Path [ "plan" ]
                let! code = plan.Exit
                Expect.equal code 1 plan.Said
                Expect.stringContains plan.Said "is no pipeline" "why"
            }

        scenario
            "a pipeline.txt may name a stage that a worker offers later; it is said that none does"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("sub/pipeline.txt", "ocr | lower")
                place.Put("sub/b.txt", "B")
                let! struct (scheduler, _) = startScheduler place [ "--lost-after"; "500ms" ]
                use scheduler = scheduler
                let! line = scheduler.Says "no worker offers 'ocr'"
                Expect.stringContains line "1 tasks" "how many"
            }

        scenario "a route that is none ends the start with exit code 2"
        <| fun () ->
            task {
                use place = new Workplace()

                for route, part in
                    [
                        "lower", "has no '='"
                        "*.csv=lowr", "did you mean 'lower'"
                        "=lower", "no pattern"
                        "entrada/*.csv=lower", "write './*.csv'"
                        "*.{csv=lower", "is not closed"
                    ] do
                    use scheduler = fsScheduler place.Path [ "--route"; route ]
                    let! code = scheduler.Exit
                    Expect.equal code 2 scheduler.Said
                    Expect.stringContains scheduler.Said part "what is wrong"
            }
    ]
