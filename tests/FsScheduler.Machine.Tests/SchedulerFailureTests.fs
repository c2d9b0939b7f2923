module FsScheduler.Machine.Tests.SchedulerFailureTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private fence =
    let current = attempt 1 1

    testList "a result is ignored, and its payload discarded" [
        for name, spoil, worker, late in
            [
                "when it comes from another worker", ignore, 2, current
                "when its attempt is to come", ignore, 1, attempt 1 2
                "when its task is not known", ignore, 1, attempt 5 1
                "when the worker was lost",
                (fun (machine: Machine) -> machine.Lose 1 |> ignore),
                1,
                current
                "when it comes a second time",
                (fun machine -> machine.Succeed(1, current) |> ignore),
                1,
                current
                "when the attempt failed before",
                (fun machine -> machine.Fail(1, current) |> ignore),
                1,
                current
                "when the task was cancelled",
                (fun machine -> machine.Do(Input.Cancel(taskId 1, client))),
                1,
                current
                "when the task took too long",
                (fun machine -> machine.Pass(61_000L<ms>, [ session 1; session 2 ]) |> ignore),
                1,
                current
            ] do
            test name {
                let machine = running 1 1
                machine.Worker(2, [ "b" ], 1) |> ignore
                spoil machine
                let before = machine.States

                expect (machine.Report(worker, late, Succeeded, spooled "late")) [] [
                    Effect.ToDisk(DiskEffect.Discard "late")
                ]

                Expect.equal machine.States before "states"
            }

        test "when the attempt was lost, and its worker's successor has the next one" {
            let machine = running 1 1
            machine.Lose 1 |> ignore
            machine.Worker(2, [ "a" ], 1) |> ignore
            expect (machine.Succeed(2, attempt 1 1)) [] []

            expect (machine.Succeed(2, attempt 1 2)) [ completed 1 2 ] [ doneWell "x1" 1 2 ]
        }
    ]

let private failing =
    testList "a task that fails" [
        test "waits, then is given out at the next attempt" {
            let machine = running 1 1

            match machine.Fail(1, attempt 1 1) with
            | [ Event.Delayed(1L<taskId>, reported, delay) ], [] ->
                Expect.equal reported (failure 1 "w1" "it failed" 0L<ms>) "trouble"
                machine.Wait(delay - 1L<ms>)
                Expect.equal (machine.Take Input.Tick) nothing "not yet"
                machine.Wait 1L<ms>
                let events, _ = machine.Take Input.Tick
                Expect.equal events [ Event.Woken 1L<taskId>; assigned 1 2 1 0 1 ] "now"
            | other -> failtest $"%A{other}"
        }

        test "is in quarantine after the last attempt, and its client is told" {
            let machine = running 1 1
            machine.Fail(1, attempt 1 1) |> ignore
            machine.Pass(1_000L<ms>, [ session 1 ]) |> ignore
            machine.Fail(1, attempt 1 2) |> ignore
            machine.Pass(1_000L<ms>, [ session 1 ]) |> ignore

            expect (machine.Fail(1, attempt 1 3)) [
                Event.Quarantined(taskId 1, failure 3 "w1" "it failed" 2_000L<ms>)
            ] [ reply (quarantinedFor "x1" 1 3 "it failed") ]

            Expect.equal machine.Scheduler.Quarantined 1 "quarantined"
            Expect.isTrue machine.Scheduler.IsDone "done"
        }

        test "is in quarantine at once where another attempt is no use" {
            let machine = running 1 1

            expect (machine.FailForGood(1, attempt 1 1)) [
                Event.Quarantined(taskId 1, failure 1 "w1" "no" 0L<ms>)
            ] [ reply (quarantinedFor "x1" 1 1 "no") ]
        }

        test "comes out of quarantine with RETRY, with all its attempts" {
            let machine = running 1 1
            let refuse number = Failed($"no {number}", false)
            machine.Report(1, attempt 1 1, refuse 1, Content.empty) |> ignore

            match machine.Take(Input.Retry(taskId 1, client)) with
            | [ Event.Retried 1L<taskId>; Event.Assigned(next, _, _) ],
              [ Effect.ToPeer(PeerEffect.Assign _) ] ->
                Expect.equal next (attempt 1 2) "the fence goes on"
            | other -> failtest $"%A{other}"

            let events, _ = machine.Fail(1, attempt 1 2)
            Expect.isTrue (events |> List.exists _.IsDelayed) "failures count from 0"
        }

        test "goes on failing for as long as it may, above 255 times too" {
            let machine = Machine { settings with maxAttempts = 300 }
            machine.Worker(1, [ "a" ], 1) |> ignore
            machine.SubmitAll [ "x" ]

            for number in 1..299 do
                machine.Fail(1, attempt 1 number) |> ignore
                machine.Wait 60_000L<ms>
                machine.Do Input.Tick

            let events, _ = machine.Fail(1, attempt 1 300)
            Expect.isTrue (events |> List.exists _.IsQuarantined) "quarantined"
        }

        test "is waited for between half and all of 100 ms, doubled each time, up to a minute" {
            for failures in 1..40 do
                let full = min 60_000L<ms> (100L<ms> * (1L <<< min 20 (failures - 1)))

                for chance in [ 0UL; 1UL; 77UL; System.UInt64.MaxValue ] do
                    let delay = Backoff.delay failures chance
                    Expect.isTrue (delay >= full / 2L && delay <= full) $"{failures}: {delay}"
        }

        test "is waited for by chance, and by the same chance from the same seed" {
            let delays seed =
                let machine = Machine { settings with seed = seed }
                machine.Worker(1, [ "a" ], 20) |> ignore
                machine.SubmitAll [ for i in 1..20 -> $"{i}" ]

                [
                    for i in 1..20 do
                        for event in fst (machine.Fail(1, attempt i 1)) do
                            match event with
                            | Event.Delayed(_, _, delay) -> delay
                            | _ -> ()
                ]

            Expect.equal (delays 1UL) (delays 1UL) "same seed"
            Expect.notEqual (delays 1UL) (delays 2UL) "other seed"
            Expect.isGreaterThan (List.length (List.distinct (delays 1UL))) 10 "spread"
        }

        test "comes back in the order of ids where the moment is the same" {
            let machine = Machine { settings with maxAttempts = 100 }
            machine.Worker(1, [ "a" ], 200) |> ignore
            machine.SubmitAll [ for i in 1..200 -> $"{i}" ]

            let due = [
                for i in 200..-1..1 do
                    for event in fst (machine.Fail(1, attempt i 1)) do
                        match event with
                        | Event.Delayed(_, _, delay) -> delay, int64 i
                        | _ -> ()
            ]

            machine.Wait 100L<ms>
            let _, effects = machine.Take Input.Tick

            Expect.equal
                [ for _, id, _ in assignments effects -> id ]
                [ for _, id in List.sort due -> id ]
                "ids"
        }

        test "that takes too long is given up, and its slot is free" {
            let machine = running 1 2
            machine.Pass(60_000L<ms>, [ session 1 ]) |> ignore
            Expect.equal machine.States [ 1L, "running"; 2L, "queued" ] "exactly in time"
            machine.Wait 1L<ms>
            machine.Do(Input.Heard(session 1))

            match machine.Take Input.Tick with
            | [ Event.Delayed(1L<taskId>, _, _); Event.Assigned(next, _, _) ],
              [ Effect.ToPeer(PeerEffect.Revoke(worker, revoked))
                Effect.ToPeer(PeerEffect.Assign _) ] ->
                Expect.equal (worker, revoked) (session 1, attempt 1 1) "revoked"
                Expect.equal next (attempt 2 1) "next"
            | other -> failtest $"%A{other}"
        }

        test "is remembered with its latest troubles only" {
            let machine = running 1 1
            let file = file "f" 1
            machine.Succeed(1, attempt 1 1) |> ignore
            machine.Do(Input.Submit(file, ""))
            let mutable effects = []

            for number in 1 .. SchedulerLimits.pastFailuresMax + 10 do
                let failed = Failed($"e{number}", false)
                effects <- snd (machine.Report(1, attempt 2 number, failed, Content.empty))
                machine.Do(Input.Retry(taskId 2, client))

            match effects with
            | [ Effect.ToDisk(DiskEffect.PublishError(_, _, pastFailures)) ] ->
                Expect.hasLength pastFailures SchedulerLimits.pastFailuresMax "troubles"
                let last = List.last pastFailures
                Expect.equal last.error $"e{SchedulerLimits.pastFailuresMax + 10}" "the latest"
            | other -> failtest $"%A{other}"
        }

        test "to be read is tried again without having been given out" {
            let machine = running 1 1

            match machine.Take(Input.Unreadable(attempt 1 1, "locked")) with
            | [ Event.Delayed(1L<taskId>, reported, _) ], [] ->
                Expect.equal reported (failure 1 "" "locked" 0L<ms>) "nobody's fault"
            | other -> failtest $"%A{other}"

            Expect.equal (machine.Take(Input.Unreadable(attempt 1 1, "again"))) nothing "stale"
        }

        test "whose input is out of sight is tried again, however often, and is not to blame" {
            let machine = running 1 1

            match machine.Take(Input.OutOfSight(attempt 1 1, "not mounted")) with
            | [ Event.Delayed(1L<taskId>, reported, _) ], [] ->
                Expect.equal
                    reported
                    { failure 1 "" "not mounted" 0L<ms> with cause = StorageError }
                    "counts for nothing"
            | other -> failtest $"%A{other}"

            Expect.equal (machine.Take(Input.OutOfSight(attempt 1 1, "again"))) nothing "stale"
        }
    ]

[<Tests>]
let tests = testList "the scheduler.when things go wrong" [ fence; failing ]
