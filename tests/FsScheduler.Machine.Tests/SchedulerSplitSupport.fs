/// A payload of 300 bytes that is worked on in pieces.
module FsScheduler.Machine.Tests.SchedulerSplitSupport

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

/// Everything above 100 bytes is split.
let splitting = { settings with split = 100L<B>; speculate = 3.0 }

let stages = [ "lower"; "sort"; "d" ]

let big = Spooled("big", 300L<B>)

let cuts = [| 100L<B>; 210L<B>; 300L<B> |]

let pipelineOf text =
    match Pipeline.parse (HashSet [ "a"; "b"; "c"; "d" ]) text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

/// Worker 1, which runs these stages, and task 1, whose payload is cut next.
let begunBy settings stages slots pipeline want =
    let machine = Machine settings
    machine.Worker(1, stages, slots) |> ignore
    let submission = submission "x" 0 want None big
    submission, machine, machine.Take(Input.Submit(submission, pipeline))

let begun pipeline want =
    begunBy splitting stages 2 pipeline want

/// Task 1, in three pieces: the tasks 2, 3 and 4, of which worker 1 has the first ones.
let inPiecesBy settings stages slots pipeline want =
    let _, machine, _ = begunBy settings stages slots pipeline want
    machine.Do(Input.Cut(attempt 1 0, cuts))
    machine

let inPieces pipeline want =
    inPiecesBy splitting stages 2 pipeline want

/// A piece is finished with a text.
let succeed (machine: Machine) task text =
    machine.Report(1, attempt task 1, Succeeded, bytes text)

/// What is to be merged.
let joins (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.ToPieces(PieceEffect.MergeParts(attempt, merge, parts)) ->
            Some(attempt, ValueOption.map Stage.toWire merge, List.ofArray parts)
        | _ -> None)
