/// Where the journal begins to tell of a task.
module FsScheduler.Journal.Tests.TaskIndexTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.TestKit.SchedulerFixture

/// A task came every ten events, from a number on.
let private indexed (first: int64) (tasks: int64 seq) =
    let index = TaskIndex()

    for task in tasks do
        index.Add(task * 1L<taskId>, first + 10L * task)

    index

/// Tasks 1 to 20,000, ten in a batch of forty events; of each, where its batch begins.
let private filled () =
    let index = TaskIndex()
    let batches = Dictionary<TaskId, int64>()

    for task in 1..20_000 do
        let batch = int64 ((task - 1) / 10) * 40L + 1L
        index.Add(taskId task, batch)
        batches[taskId task] <- batch

    index, batches

[<Tests>]
let tests =
    testList "index of tasks" [
        test "of a journal that was never dropped begins with the first task" {
            let index = indexed 0L [ 1L .. 2_000L ]
            Expect.equal index.Before 0L<taskId> "none came before"
            Expect.equal (index.StartOf 1L<taskId>) 0L "the first"
            let start = index.StartOf 2_000L<taskId>
            Expect.isTrue (start <= 20_000L && start > 15_000L) "the last, not from the beginning"
        }

        test "of a journal that is read again knows which tasks are dropped" {
            let index = indexed 0L [ 1_000L .. 2_000L ]
            Expect.equal index.Before 999L<taskId> "what there is of them was carried"

            Expect.equal
                (index.StartOf 1_000L<taskId>)
                0L
                "before its submission others may have events"
        }

        test "takes no notice of what is carried later" {
            let index = indexed 0L [ 1_000L .. 1_500L ]
            index.Add(7L<taskId>, 15_010L)
            Expect.equal index.Before 999L<taskId> "task 7 is one of these"
            Expect.equal (index.StartOf 7L<taskId>) 0L "and is looked for from the beginning"
        }

        test "forgets what is dropped while it lives" {
            let index = indexed 0L [ 1L .. 2_000L ]
            index.Drop 10_000L
            let before = int64 index.Before
            Expect.isTrue (before > 0L && before < 1_000L) "tasks that came before event 10,000"
        }

        test "is empty at first" {
            let index = TaskIndex()
            Expect.equal (index.StartOf(taskId 7), index.Before) (0L, 0L<taskId>) "from the start"
            index.Drop 100L

            Expect.equal
                (index.StartOf(taskId 7), index.Before)
                (0L, 0L<taskId>)
                "and nothing to drop"
        }

        test "tells a place before each task, and not far before it" {
            let index, batches = filled ()

            for KeyValue(task, batch) in batches do
                let start = index.StartOf task
                Expect.isLessThanOrEqual start batch "not behind it"
                Expect.isGreaterThan start (batch - 4_096L - 40L) "nor far before it"

            Expect.isGreaterThan (index.StartOf(taskId 30_000)) 70_000L "of those that will come"
            Expect.equal index.Before 0L<taskId> "nothing was dropped"
        }

        test "forgets what is dropped, and tells of which tasks all was" {
            for before in [ 2L; 4_097L; 40_000L; 40_001L; 79_999L; 80_001L ] do
                let index, batches = filled ()
                index.Drop before

                for KeyValue(task, batch) in batches do
                    Expect.isLessThanOrEqual (index.StartOf task) batch "not behind it"

                    if task <= index.Before then
                        Expect.isLessThan batch before "it came in what was dropped"
                    elif batch < before - 8_200L then
                        failtest $"task {task} was dropped with all before event {before}"

                // It goes on.
                index.Add(taskId 20_001, 2_000_000L)
                Expect.isLessThanOrEqual (index.StartOf(taskId 20_001)) 2_000_000L "of a new one"
                Expect.isGreaterThan (index.StartOf(taskId 20_002)) 1_999_999L "and of the next"
        }

        test "does not lose those that are carried behind later ones" {
            let index = TaskIndex()
            // Carried with its pieces, which have higher numbers; then older tasks, and new ones.
            let added = [
                3, 1L
                800, 1L
                801, 1L
                7, 9_000L
                450, 9_000L
                802, 20_000L
                803, 30_000L
            ]

            for task, batch in added do
                index.Add(taskId task, batch)

            for task, batch in added do
                Expect.isLessThanOrEqual (index.StartOf(taskId task)) batch $"of task {task}"

            Expect.equal (index.StartOf(taskId 803)) 30_000L "of the latest"
        }
    ]
