/// Programs as stages go to the workers that may run them.
module FsScheduler.Machine.Tests.SchedulerProgramTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private programs = { settings with expected = [| "exec:jq"; "exec:cat"; "b" |] }

let private given (effects: Effect list) = [
    for effect in effects do
        match effect with
        | Effect.ToPeer(PeerEffect.Assign(worker, message, _, _)) ->
            int64 worker, List.ofArray message.stages
        | _ -> ()
]

[<Tests>]
let tests =
    testList "programs go to workers" [
        test "that may run the program, and not to others that may run another" {
            let machine = Machine programs

            machine.Worker(1, [ "exec:cat"; "exec-lines:jq"; "exec-file:jq"; "b" ], 1)
            |> ignore

            let _, effects = machine.Submit("x", pipeline = "exec:jq .a")
            Expect.equal (given effects) [] "none of them is exec:jq"
            let _, effects = machine.Worker(2, [ "exec:jq" ], 1)
            Expect.equal (given effects) [ 2L, [ "exec:jq .a" ] ] "this one"
        }

        test "as many following stages as they may run" {
            let machine = Machine programs
            machine.Worker(1, [ "exec:cat"; "b" ], 1) |> ignore

            let _, effects =
                machine.Submit("x", pipeline = "exec:cat | b | exec:cat -u | exec:jq")

            Expect.equal (given effects) [ 1L, [ "exec:cat"; "b"; "exec:cat -u" ] ] "up to jq"
        }

        test "whose offer makes a program known" {
            let machine = Machine { settings with expected = [||] }
            let _, effects = machine.Submit("x", pipeline = "exec:jq")

            match effects with
            | [ Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Rejected(_, _, message))) ] ->
                Expect.stringContains message "no worker may run 'exec:jq'" ""
            | other -> failtest $"{other}"

            machine.Worker(1, [ "exec:jq" ], 1) |> ignore
            let _, effects = machine.Submit("y", pipeline = "exec:jq")
            Expect.equal (given effects) [ 1L, [ "exec:jq" ] ] "now"
        }

        test "and what is said of one that waits names the program" {
            let machine = Machine programs
            machine.Submit("x", pipeline = "exec:jq .a") |> ignore

            Expect.equal (machine.Explain 1) (Some(InQueue("exec:jq", false, 0))) ""
        }
    ]
