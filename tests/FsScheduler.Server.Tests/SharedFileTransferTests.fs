/// What is made of the results that workers have stored.
module FsScheduler.Server.Tests.SharedFileTransferTests

open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

/// Too much for the memory.
let private stored = String.replicate 40_000 "a result\n"

/// A machine with one attempt that runs, of a client's task.
let private running =
    let submission =
        Submission.Create(name "a", "r", 0, Origin.Client(2L<sessionId>, Result, None), Bytes [||])

    [|
        Input.Join(1L<sessionId>, "w", [| "lower" |])
        Input.Ready(1L<sessionId>, 1)
        Input.Submit(submission, "lower")
    |]

/// Where one running attempt, 1 of task 1, has stored a result: what is made of it, `place` giving its new path.
let private takenOver
    (place: TempFolder -> string)
    : Task<struct (Input * string voption * (string | null) * string list)> =
    task {
        use folder = new TempFolder()
        let state = new StateFolder(folder.Path)
        let time = HandTime()
        let clock = Clock time
        let outage = StorageOutage NullLogger.Instance

        let agent =
            SchedulerAgent(Scheduler settings, MemoryJournal 100, Release(fun _ -> ()), clock)

        do! ended (agent.PostAsync(running, CancellationToken.None))
        let attempt = { task = 1L<taskId>; number = 1 }
        File.WriteAllText(state.SharedFile attempt, stored)

        let sharing =
            SharedFileTransfer(
                InputFolder(folder.At "entrada"),
                state,
                agent,
                (fun _ -> place folder),
                (fun _ -> false),
                (fun _ _ -> ()),
                ignore,
                outage,
                clock
            )

        let size = int64 stored.Length * 1L<B>
        let taking = sharing.TakeAsync(1L<sessionId>, attempt, size, CancellationToken.None)
        let mutable reason: string | null = null

        do!
            eventually "it is taken over" (fun () ->
                if not (isNull outage.Reason) then
                    reason <- outage.Reason

                time.Advance(seconds 1.0)
                taking.IsCompleted)

        let! struct (input, trouble) = taking
        Expect.isNull outage.Reason "no longer"

        let left =
            Directory.GetFiles(folder.At "spool")
            |> Seq.map (fun path -> nonNull (Path.GetFileName path))

        return struct (input, trouble, reason, List.ofSeq left)
    }

let private takingOver =
    testList "a result that was stored" [
        testTask "waits while the disk takes nothing" {
            let mutable tries = 0

            let place (folder: TempFolder) =
                tries <- tries + 1

                if tries < 4 then
                    raise (IOException("I/O error", 5))

                folder.At "spool/taken"

            let! struct (input: Input, trouble: string voption, reason, left) = takenOver place
            Expect.isTrue (input.IsReport) "it succeeded"
            Expect.equal trouble ValueNone "no reason not to share"
            Expect.stringContains (string reason) "I/O error" "new work is held back"
            Expect.equal (tries, left) (4, [ "taken" ]) "moved once it worked again"
        }

        testTask "holds up nothing where there is room for others only" {
            let! struct (input: Input, trouble: string voption, reason, left) =
                takenOver (fun _ -> raise (IOException("no room", Linux.Errno.ENOSPC)))

            Expect.isTrue input.IsUnstored "counts for nothing, and is tried again"
            Expect.equal trouble ValueNone "no reason not to share"
            Expect.isNull reason "new work is taken"
            Expect.isEmpty left "nothing is left"
        }

        testTask "is given up where it cannot be had" {
            let! struct (input: Input, trouble: string voption, reason, left) =
                takenOver (fun folder -> folder.At "spool/none/taken")

            Expect.isTrue input.IsUnstored "counts for nothing"
            Expect.isTrue trouble.IsSome "a reason not to share"
            Expect.isNull reason "nothing passes by itself"
            Expect.isEmpty left "nothing is left"
        }
    ]

let private leftovers =
    testList "what nobody waits for" [
        testTask "is deleted, and nothing else" {
            use folder = new TempFolder()
            let state = new StateFolder(folder.Path)

            let agent =
                SchedulerAgent(
                    Scheduler settings,
                    MemoryJournal 100,
                    Release(fun _ -> ()),
                    Clock(HandTime())
                )

            do! ended (agent.PostAsync(running, CancellationToken.None))
            let refuse _ = failwith "not to be placed"

            let sharing =
                SharedFileTransfer(
                    InputFolder(folder.At "entrada"),
                    state,
                    agent,
                    refuse,
                    (fun _ -> false),
                    (fun _ _ -> ()),
                    ignore,
                    StorageOutage NullLogger.Instance,
                    Clock(HandTime())
                )

            let attempt task number = { task = task * 1L<taskId>; number = number }
            let current = state.SharedFile(attempt 1L 1)

            let others = [
                for id, number in [ 1L, 2; 7L, 1 ] -> state.SharedFile(attempt id number)
            ]

            let beside =
                [ "5"; "x.shared"; "1-2-3.shared"; "-1.part" ]
                |> List.map (fun name -> folder.At $"spool/{name}")

            for path in current :: others @ beside do
                File.WriteAllText(path, "")

            do! ended (sharing.SweepAsync CancellationToken.None)
            let left = Directory.GetFiles(folder.At "spool") |> Set.ofArray
            Expect.equal left (Set.ofList (current :: beside)) "left"

            Directory.Move(folder.At "spool", folder.At "away")
            do! ended (sharing.SweepAsync CancellationToken.None) // on a network mount it may be back the next time
        }

        test "is kept at a start, where a worker may still be writing it" {
            use folder = new TempFolder()
            let state = new StateFolder(folder.Path)
            let path = state.SharedFile { task = 1L<taskId>; number = 1 }
            File.WriteAllText(path, "")
            File.WriteAllText(folder.At "spool/5", "")
            state.Sweep(HashSet())
            Expect.equal (Directory.GetFiles(folder.At "spool")) [| path |] "left"
        }
    ]


[<Tests>]
let tests = testList "sharing" [ takingOver; leftovers ]
