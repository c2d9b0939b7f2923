/// Where the journal begins to tell of a task.
module FsScheduler.Journal.Tests.TaskIndexTests

open Expecto
open FsScheduler.Core
open FsScheduler.Journal

/// A task came every ten events, from a number on.
let private indexed (first: int64) (tasks: int64 seq) =
    let index = TaskIndex()

    for task in tasks do
        index.Add(task * 1L<taskId>, first + 10L * task)

    index

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
    ]
