/// Where in the journal a task is looked for.
module FsScheduler.Runtime.Tests.TaskIndexTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Journal

/// Tasks 1 to 20,000, ten in a batch of forty events; of each, where its batch begins.
let private filled () =
    let index = TaskIndex()
    let batches = Dictionary<TaskId, int64>()

    for task in 1..20_000 do
        let batch = int64 ((task - 1) / 10) * 40L + 1L
        index.Add(taskId task, batch)
        batches[taskId task] <- batch

    index, batches

let tests =
    testList "the index of tasks" [
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
