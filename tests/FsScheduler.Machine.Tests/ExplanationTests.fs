/// What is said to whoever asks why a task is where it is.
module FsScheduler.Machine.Tests.ExplanationTests

open System
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private at second =
    DateTimeOffset(2026, 11, 24, 12, 0, second, TimeSpan.Zero)

let private failure number cause error = {
    attempt = number
    cause = cause
    stages = "ocr"
    worker = "node-7"
    error = error
    at = Instant.zero
}

let private submitted =
    Event.Submitted(
        taskId 7,
        submission "conta.pdf" 0 Result None (bytes "x"),
        pipeline [ "ocr"; "b" ]
    )

let private events (these: Event list) : PastEvent[] = [|
    for index, event in List.indexed (submitted :: these) do
        struct (int64 index + 1L, at index, event)
|]

let private workerName (session: SessionId) = $"node-{session}"

let private explain these location =
    Explanation.make (taskId 7) (events these) workerName location

/// Where a task is, and what is said of that.
let private places = [
    InQueue("ocr", false, 0),
    "queued",
    "It is in the queue; no task is before it. No worker is connected that runs 'ocr': start one, or wait for it."
    InQueue("ocr", true, 0), "queued", "It is the next one for 'ocr', and waits for a free slot."
    InQueue("ocr", true, 1), "queued", "It is in the queue for 'ocr'; 1 task is before it."
    InQueue("ocr", true, 1_204),
    "queued",
    "It is in the queue for 'ocr'; 1,204 tasks are before it."
    Alone("ocr", false),
    "suspected",
    "It was lost with two workers, and is to run alone on a third. No worker is connected that runs 'ocr': start one, or wait for it."
    Alone("ocr", true),
    "suspected",
    "It was lost with two workers, and waits for one that runs 'ocr' and has nothing else."
    RunningOn("node-7", 61_000L<ms>), "running", "node-7 has been at it for 0.00:01:01."
    Awaited "node-7",
    "running",
    "node-7 had it when the scheduler was started again, and is expected back."
    HeldBack("ocr", "trim"),
    "queued",
    "It is in the queue for 'ocr', and held back: enough waits for 'trim' already (--spool-bytes)."
    OnlyFailing("ocr", "forno-3", 1, "no room"),
    "queued",
    "It is in the queue for 'ocr', and who runs that only fails: forno-3, and 1 more, last with: no room. They are held back, and tried with one task now and then."
    Avoiding("ocr", [| "forno-3"; "forno-4" |]),
    "queued",
    "It is in the queue for 'ocr', and waits for another worker than those that have failed it: forno-3, forno-4."
    BeingCut, "split", "It is large, and being cut into pieces."
    InPieces(64, 62, [| taskId 70; taskId 71 |]),
    "split",
    "62 of 64 pieces are done; the others are the tasks 70, 71."
    InPieces(64, 50, [| for task in 1..14 -> taskId task |]),
    "split",
    "50 of 64 pieces are done; the others are the tasks 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …."
    InPieces(64, 64, [||]), "split", "All 64 pieces are done; their results are being put together."
    BackedOff 1_500L<ms>, "waiting", "It is tried again in 1500 ms."
    BeingPublished, "publishing", "Its result is being put into its place."
    Behind(taskId 6), "succeeding", "It waits until task 6, an older version of its file, is done."
    InQuarantine, "quarantined", "It stays in quarantine until somebody says 'retry' or 'cancel'."
]

/// What happened, and what is said of that.
let private steps = [
    Event.Assigned({ task = taskId 7; number = 1 }, session 7, struct (0, 1)),
    "Attempt 1 was given to node-7 at 2026-11-24 12:00:01 +00:00."
    Event.Requeued(taskId 7, failure 1 WorkerLost "the worker node-7 was lost: silent for 5003 ms"),
    "Attempt 1 came back at 2026-11-24 12:00:01 +00:00: the worker node-7 was lost: silent for 5003 ms. It is run again."
    Event.Delayed(taskId 7, failure 2 TaskError "no ink", 150L<ms>),
    "Attempt 2 failed at 2026-11-24 12:00:01 +00:00: no ink. It was to be tried again after 150 ms."
    Event.Delayed(taskId 7, failure 2 WorkerUnable "no room", 150L<ms>),
    "Attempt 2 could not be run by node-7 at 2026-11-24 12:00:01 +00:00: no room. That counts for nothing against the task; it was to be tried again after 150 ms."
    Event.Quarantined(taskId 7, failure 3 TaskError "no paper"),
    "It went into quarantine at 2026-11-24 12:00:01 +00:00, after attempt 3: no paper."
    Event.Claimed({ task = taskId 7; number = 3 }, session 9),
    "The scheduler was started again; node-9 came back at 2026-11-24 12:00:01 +00:00 and went on with attempt 3."
    Event.Advanced({ task = taskId 7; number = 3 }, 1, KeptContent.empty),
    "Attempt 3 finished the stages before number 2."
    Event.Split({ task = taskId 7; number = 4 }, 1, ValueNone, [| 5L<B>; 9L<B> |]),
    "Attempt 4 is worked on in 2 pieces, since 2026-11-24 12:00:01 +00:00: each is a task of its own."
    Event.Split(
        { task = taskId 7; number = 4 },
        1,
        ValueSome(pipeline [ "each.lines"; "lower" ]),
        [| 5L<B>; 9L<B> |]
    ),
    "Attempt 4 is worked on in 2 pieces, since 2026-11-24 12:00:01 +00:00: each is a task of its own, for each.lines | lower."
    Event.Speculated(taskId 7, 1, taskId 9),
    "Piece 2, task 9, took much longer than the others: at 2026-11-24 12:00:01 +00:00 a second worker was given it too. The first result counts."
    Event.PartLost(taskId 7, 1),
    "The result of piece 2 was gone when the scheduler was started again at 2026-11-24 12:00:01 +00:00: the piece is run again."
    Event.Retried(taskId 7), "Somebody had it tried again at 2026-11-24 12:00:01 +00:00."
]

[<Tests>]
let tests =
    testList "an explanation" [
        for place, state, sentence in places do
            test $"of a task that is {place}" {
                let explanation = explain [] (Some place)
                Expect.equal explanation.state state "state"
                Expect.equal (List.last explanation.sentences) sentence "sentence"
            }

        for event, sentence in steps do
            test $"tells: {sentence}" {
                let explanation = explain [ event ] (Some InQuarantine)
                Expect.equal explanation.sentences[1] sentence "sentence"
            }

        test "of a task that has ended needs no more than its events" {
            let completed = Event.Completed({ task = taskId 7; number = 1 }, NothingKept)
            let explanation = explain [ completed ] None
            Expect.equal explanation.state "done" "state"
            Expect.equal explanation.name "conta.pdf" "name"

            Expect.equal
                explanation.sentences
                [
                    "It was submitted at 2026-11-24 12:00:00 +00:00 as 'conta.pdf', for ocr | b."
                    "It was done at 2026-11-24 12:00:01 +00:00, by attempt 1."
                ]
                "sentences"

            let cancelled = explain [ Event.Cancelled(taskId 7, "CANCEL") ] None
            Expect.equal cancelled.state "cancelled" "state"
        }
    ]
