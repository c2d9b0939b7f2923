/// Tasks and stages, listed.
module FsScheduler.Machine.Tests.ListingTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private everything = {
    after = 0L<taskId>
    most = 1_000
    phases = [||]
    name = None
    stage = None
}

let private list query (machine: Machine) =
    Listing.tasks query machine.Now machine.Scheduler

let private ids (page: TaskPage) = [ for row in page.rows -> int64 row.task ]

/// One worker of `a` with two slots; 1 runs, 2 is in quarantine, 3 runs, and 4 and 5 wait for `b`.
let private busy () =
    let machine = running 2 2

    machine.Report(1, attempt 2 1, Failed("no ink", false), Content.empty) |> ignore

    machine.Submit "x3" |> ignore
    machine.Submit("y4", pipeline = "b | a") |> ignore
    machine.Submit("y5", pipeline = "b") |> ignore
    machine

let private row task phase (finished: TaskId list) : TaskPage = {
    rows = [|
        for id in finished @ [ task ] ->
            {
                task = id
                name = "n"
                phase = phase
                pipeline = "a"
                stage = ""
                demand = ""
                attempt = 1
                worker = ""
                error = ""
                whole = None
                since = 0L<ms>
                submissionEvent = 0L
            }
    |]
    last = task
    more = false
}

[<Tests>]
let tests =
    testList "lists" [
        test "tell of each unfinished task where it is, and why" {
            let machine = busy ()
            machine.Wait 3_000L<ms>
            let page = list everything machine
            Expect.equal (ids page) [ 1L; 2L; 3L; 4L; 5L ] "by number"

            Expect.equal
                [ for row in page.rows -> row.phase, row.stage, row.worker, row.error ]
                [
                    Phase.Running, "a", "w1", ""
                    Phase.Quarantined, "a", "", "no ink"
                    Phase.Running, "a", "w1", ""
                    Phase.Queued, "b", "", ""
                    Phase.Queued, "b", "", ""
                ]
                "rows"

            Expect.equal page.rows[0].since 3_000L<ms> "since"
            Expect.equal page.rows[3].pipeline "b | a" "pipeline"
            Expect.isFalse page.more "all"
        }

        test "are narrowed by state and by stage" {
            let machine = busy ()

            Expect.equal
                (ids (list { everything with phases = [| Phase.Quarantined |] } machine))
                [ 2L ]
                "state"

            Expect.equal
                (ids (
                    list
                        {
                            everything with
                                phases = [| Phase.Queued; Phase.Running |]
                                stage = Some "b"
                        }
                        machine
                ))
                [ 4L; 5L ]
                "stage"
        }

        test "come page by page, each from where the last one ended" {
            let machine = busy ()
            let first = list { everything with most = 2 } machine
            Expect.equal (ids first, first.last, first.more) ([ 1L; 2L ], taskId 2, true) "first"
            let second = list { everything with most = 2; after = first.last } machine
            Expect.equal (ids second, second.more) ([ 3L; 4L ], true) "second"
            let third = list { everything with most = 2; after = second.last } machine
            Expect.equal (ids third, third.more) ([ 5L ], false) "third"

            let none =
                list { everything with after = ProtocolLimits.integerMax * 1L<taskId> } machine

            Expect.equal (ids none, none.more) ([], false) "behind the end"
        }

        test "look at so many tasks for a page and no more, whatever fits" {
            let machine = Machine settings

            for number in 1..10_050 do
                let decisions = StepOutput()

                machine.Scheduler.Step(
                    Input.Submit(submission $"{number}" 0 Result None (bytes "x"), ""),
                    machine.Now,
                    decisions
                )

            let query = { everything with phases = [| Phase.Quarantined |] }
            let page = list query machine
            Expect.equal (ids page, page.last, page.more) ([], taskId 10_000, true) "first"
            let rest = list { query with after = page.last } machine
            Expect.equal (ids rest, rest.last, rest.more) ([], taskId 10_050, false) "rest"
        }

        test "are merged with what is finished, in order, of each task the later row" {
            let live = row (taskId 5) Phase.Running [ taskId 2; taskId 4 ]
            let ended = row (taskId 4) Phase.Done [ taskId 1; taskId 3 ]
            let page = Listing.merge 10 live ended
            Expect.equal (ids page) [ 1L; 2L; 3L; 4L; 5L ] "in order"
            Expect.equal page.rows[3].phase Phase.Done "finished in between"
            Expect.equal (page.last, page.more) (taskId 5, false) "all"
        }

        test "that are merged end where one of the two was not looked at any further" {
            let live = { row (taskId 9) Phase.Running [ taskId 2 ] with more = true }
            let ended = { row (taskId 4) Phase.Done [ taskId 1 ] with more = true }
            let page = Listing.merge 10 live ended
            Expect.equal (ids page, page.last, page.more) ([ 1L; 2L; 4L ], taskId 4, true) "up to 4"
            let cut = Listing.merge 2 live ended
            Expect.equal (ids cut, cut.last, cut.more) ([ 1L; 2L ], taskId 2, true) "cut"
        }

        test "of stages have who offers them, and what waits" {
            let machine = busy ()

            Expect.equal
                (Listing.stages machine.Scheduler)
                [|
                    { stage = "a"; workers = 1; slots = 2L; queued = 0L }
                    { stage = "b"; workers = 0; slots = 0L; queued = 2L }
                |]
                "stages"
        }

        test "of stages leave out who is asked to go" {
            let machine = busy ()
            machine.Do(Input.Drain("w1", client))

            Expect.equal
                (Listing.stages machine.Scheduler)
                [| { stage = "b"; workers = 0; slots = 0L; queued = 2L } |]
                "nobody runs a any more"
        }

        for pattern, name, isFit in
            [
                "*.txt", "a.txt", true
                "*.txt", "sub/a.txt", true
                "sub/*", "sub/a.txt", true
                "a.txt", "sub/a.txt", true
                "?.txt", "ab.txt", false
                "*.TXT", "a.txt", false
                "sub", "sub/a.txt", false
            ] do
            test $"'{pattern}' and '{name}'" {
                Expect.equal (Listing.fits pattern name) isFit "fits"
            }

        for name, near in
            [
                "submti", Some "submit"
                "stauts", Some "status"
                "nix", None
                "wa", None // half of it would be another
                "SUBMIT", Some "submit"
            ] do
            test $"'{name}' is near to a verb, or not" {
                Expect.equal
                    (Spelling.nearest [ "submit"; "stages"; "status"; "wait" ] name)
                    near
                    "near"
            }
    ]
