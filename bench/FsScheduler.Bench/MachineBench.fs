namespace FsScheduler.Bench

open System
open System.Collections.Generic
open System.Diagnostics
open FsScheduler.Core
open FsScheduler.Machine

/// The machine alone: tasks are submitted, given out and done, without a journal and without a socket.
module MachineBench =

    let private turnTasks = 1_000
    let private client = 1L<sessionId>
    let private workers = [ 2L<sessionId>; 3L<sessionId> ]

    let private settings: Settings =
        let pipeline =
            match Pipeline.parseRecorded "lower" with
            | Ok pipeline -> pipeline
            | Error error -> failwith error.message

        {
            Settings.defaults pipeline with
                memory = 24L * 1024L * 1024L * 1L<B>
                spoolBytes = 1024L * 1024L * 1024L * 1L<B>
                split = 16L * 1024L * 1024L * 1L<B>
                speculate = 2.0
        }

    let private submitOf number =
        let name =
            match TaskName.parse $"t{number}" with
            | Ok name -> name
            | Error reason -> failwith reason

        let origin = Origin.Client(client, Result, None)
        let payload = Bytes(Array.create 64 (byte 'A'))
        Input.Submit(Submission.Create(name, string number, 0, origin, payload), "")

    /// Seconds, and bytes that were allocated on the way.
    let private measure turns : struct (float * int64) =
        let scheduler = Scheduler settings
        let decisions = StepOutput()
        let mutable now = Instant.zero
        let take input = scheduler.Step(input, now, decisions)

        for worker in workers do
            take (Input.Join(worker, $"w{worker}", [| "lower" |]))
            take (Input.Ready(worker, 256))

        let submits = Array.init turnTasks submitOf
        let result = Bytes(Array.create 64 (byte 'a'))
        let given = Queue<struct (SessionId * Attempt)>()
        let mutable ended = 0

        let letOut () =
            for effect in decisions.Effects do
                match effect with
                | Effect.ToPeer(PeerEffect.Assign(worker, work, _, _)) ->
                    given.Enqueue(struct (worker, work.attempt))
                | Effect.ToPeer(PeerEffect.ReplyResult(_, FromScheduler.Done _, _)) ->
                    ended <- ended + 1
                | _ -> ()

            decisions.Clear()

        let allocated = GC.GetAllocatedBytesForCurrentThread()
        let clock = Stopwatch.StartNew()

        for turn in 1..turns do
            now <- now + 5L<ms>
            Array.iter take submits
            letOut ()

            while ended < turn * turnTasks do
                for _ in 1 .. given.Count do
                    let struct (worker, attempt) = given.Dequeue()
                    take (Input.Report(worker, attempt, Succeeded, result))

                letOut ()

        struct (clock.Elapsed.TotalSeconds, GC.GetAllocatedBytesForCurrentThread() - allocated)

    let run () =
        measure 300 |> ignore
        let turns = 1_000
        let tasks = turns * turnTasks
        let runs = [ for _ in 1..5 -> measure turns ]
        let rates = [ for struct (seconds, _) in runs -> float tasks / seconds ]
        let bytes = [ for struct (_, bytes) in runs -> float bytes / float tasks ]

        [
            {
                what = "tasks/s, machine alone"
                value = $"{Measure.median rates:N0}"
                note =
                    $"submitted, given out, done; {List.min rates:N0} to {List.max rates:N0} in 5 x {tasks:N0}"
            }
            {
                what = "bytes allocated a task, machine alone"
                value = $"{Measure.median bytes:N0}"
                note = "with what it was told and what it answers"
            }
        ]
