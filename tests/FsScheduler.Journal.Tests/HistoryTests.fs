/// What the journal answers about the past.
module FsScheduler.Journal.Tests.HistoryTests

open System
open System.Text
open System.Text.Json
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Journal
open FsScheduler.TestKit
open FsScheduler.Journal.Tests.JournalSupport

let private history (journal: Journal) = journal :> IHistory

let private drop (journal: Journal) before =
    ended ((journal :> IJournal).DropAsync before)

let private worker: SessionId = 1L<sessionId>

/// As after a restart: what there was is read.
let private reopen (store: MemoryStore) =
    let journal = journalOver store
    journal.Recover() |> Seq.iter ignore
    journal

let private given task = assigned task 1 1 0 2
let private over task = completed task 1
let private submit task = submitted task (bytes "x") None

/// Of a piece of task 3.
let private piece task =
    let whole =
        Submission.Create(
            name "x",
            "x",
            0,
            Origin.Client(worker, Result, None),
            Spooled("f", 9L<B>)
        )

    Event.Submitted(
        taskId task,
        whole.Piece(taskId 3, 0, Slice(Kept(Held(Spooled("f", 9L<B>))), 0L<B>, 9L<B>)),
        pipeline [ "a"; "b" ]
    )

let private carried task home =
    let filed =
        (Submission.Create(name "x", "", 7, Origin.Client(worker, Result, None), Content.empty))
            .ToJournaled()

    Event.Carried(
        Carried.Task {
            task = taskId task
            submission = filed
            pipeline = pipeline [ "a"; "b" ]
            state = CarriedState.Queued
            since = Instant.zero
            place = 3L
            progress = ValueNone
            submissionEvent = home
        }
    )

let private totals: Totals = {
    completed = 0L
    cancelled = 0L
    lastTask = 0L<taskId>
    lastSession = 0L<sessionId>
    known = [||]
}

let private eventsOf journal task =
    let struct (past, recorded) = (history journal).EventsOf(taskId task)

    let numbers = [ for event in recorded -> event.number ]
    Expect.equal [ for struct (number, _, _) in past -> number ] numbers "the same in both forms"
    numbers

let private numbersAfter journal number most = [
    for event in (history journal).EventsAfter(number, most) -> event.number
]

let private finishedBut unfinished journal after upTo = [
    for one in
        (history journal)
            .Finished(taskId after, taskId upTo, (fun id -> Set.contains id unfinished)) do
        int one.task, one.isDone
]

let private events =
    testList "events" [
        testTask "of a task are its own, from its submission to its end" {
            let store = new MemoryStore()
            let journal = journalOver store

            do!
                append journal 1L [
                    Event.Joined(worker, "w", [| "a" |])
                    submit 1
                    submit 11
                    given 11
                    given 1
                ]

            do! append journal 6L [ over 11; over 1; submit 12 ]
            do! append journal 9L [ Event.Noted(Note.Delivered(taskId 1)) ]

            for journal in [ journal; reopen store ] do
                Expect.equal (eventsOf journal 1) [ 2L; 5L; 7L ] "the first"
                Expect.equal (eventsOf journal 11) [ 3L; 4L; 6L ] "the eleventh"
                Expect.equal (eventsOf journal 12) [ 8L ] "one that has not ended"
                Expect.isEmpty (eventsOf journal 2) "one that never was"
                let struct (past, recorded) = (history journal).EventsOf(taskId 1)
                let struct (_, _, last) = past[2]
                Expect.equal last (over 1) "as events"

                Expect.equal
                    (Encoding.UTF8.GetString recorded[2].json.Span)
                    """{"event":"completed","task":1}"""
                    "as they were recorded"

            do! close journal
        }

        test "are printed with what the journal leaves out" {
            let printed (json: string) =
                use stream = new IO.MemoryStream()

                do
                    use writer = new Utf8JsonWriter(stream)

                    EventPrint.write writer (fun session -> $"w{session}") {
                        number = 7L
                        at = DateTimeOffset.UnixEpoch
                        json = ReadOnlyMemory(Encoding.UTF8.GetBytes json)
                    }

                Encoding.UTF8.GetString(stream.ToArray())

            let prints (json: string) rest =
                Expect.equal
                    (printed json)
                    $"""{{"number":7,"time":"1970-01-01T00:00:00.000Z",{rest}}}"""
                    json

            prints
                """{"event":"assigned","task":20,"session":7}"""
                "\"event\":\"assigned\",\"task\":20,\"attempt\":1,\"session\":7,\"worker\":\"w7\",\"first\":0,\"last\":1"

            prints
                """{"event":"assigned","task":20,"attempt":3,"session":7,"first":2}"""
                "\"event\":\"assigned\",\"task\":20,\"attempt\":3,\"session\":7,\"worker\":\"w7\",\"first\":2,\"last\":3"

            prints
                """{"event":"assigned","task":20,"session":7,"first":1,"last":4}"""
                "\"event\":\"assigned\",\"task\":20,\"attempt\":1,\"session\":7,\"worker\":\"w7\",\"first\":1,\"last\":4"

            prints
                """{"event":"advanced","task":20,"stage":1,"payload":[12,34]}"""
                "\"event\":\"advanced\",\"task\":20,\"attempt\":1,\"stage\":1,\"payload\":{\"at\":12,\"bytes\":34}"

            prints """{"event":"woken","task":20}""" "\"event\":\"woken\",\"task\":20"
        }

        testTask "of a task that was carried are those that are left" {
            let store = new MemoryStore()
            let journal = journalOver store
            do! append journal 1L [ submit 1 ]
            do! append journal 2L [ submit 2; given 2 ]
            do! append journal 4L [ given 1 ]
            do! append journal 5L [ over 2 ]
            do! append journal 6L [ carried 1 1L; Event.Dropped(5L, totals) ]
            do! drop journal 5L
            do! append journal 8L [ over 1 ]

            for journal in [ journal; reopen store ] do
                Expect.equal (eventsOf journal 1) [ 6L; 8L ] "from where it was carried"
                Expect.equal (eventsOf journal 2) [ 5L ] "what is left"

            do! close journal
        }

        testTask "after one are the next ones" {
            let store = new MemoryStore()
            let journal = journalOver store
            Expect.isEmpty (numbersAfter journal 0L 10) "none yet"
            do! append journal 1L (done' 1)
            do! append journal 4L (done' 2)
            Expect.equal (numbersAfter journal 0L 2) [ 1L; 2L ] "from the start"
            Expect.equal (numbersAfter journal 1L 3) [ 2L; 3L; 4L ] "across batches"
            Expect.equal (numbersAfter journal 4L 100) [ 5L; 6L ] "to the end"
            Expect.isEmpty (numbersAfter journal 6L 100) "none behind it"
            (store :> IJournalStore).Append [ Batch.lost 7L 4 0L ]
            do! append journal 11L (done' 3)
            Expect.equal (numbersAfter journal 5L 3) [ 6L; 11L; 12L ] "without lost ones"
            do! drop journal 4L
            Expect.equal (numbersAfter journal 0L 2) [ 4L; 5L ] "from what is left"
            do! close journal
        }
    ]

let private finished =
    testList "finished tasks" [
        testTask "are those that have ended, by their numbers, and no pieces" {
            let store = new MemoryStore()
            let journal = journalOver store
            do! append journal 1L [ submit 1; submit 2; submit 3; piece 4; submit 5 ]
            do! append journal 6L [ given 5; over 5; given 4; over 4; given 1 ]
            do! append journal 11L [ over 1; Event.Cancelled(taskId 2, "no more") ]
            let unfinished = set [ taskId 3 ]

            for journal in [ journal; reopen store ] do
                let but = finishedBut unfinished journal
                Expect.equal (but 0 5) [ 1, true; 2, false; 5, true ] "all"
                Expect.equal (but 1 4) [ 2, false ] "some"
                Expect.equal (but 2 3) [] "none"
                Expect.equal (but 0 100) [ 1, true; 2, false; 5, true ] "more than there were"

                let found = (history journal).Finished(taskId 0, taskId 5, unfinished.Contains)

                Expect.equal
                    (found[0].name, found[0].pipeline, found[0].attempt)
                    ("t/é '1'", "a | b", 1)
                    "what was done"

                Expect.equal (found[1].name, found[1].reason) ("t/é '2'", "no more") "why not"

            do! close journal
        }

        testTask "are found where they were carried, and not where they were dropped" {
            let store = new MemoryStore()
            let journal = journalOver store
            do! append journal 1L (done' 1)
            do! append journal 4L [ submit 2; given 2 ]
            do! append journal 6L (done' 3)
            do! append journal 9L [ submit 4 ]
            do! append journal 10L [ carried 2 4L; Event.Dropped(9L, totals) ]
            do! drop journal 9L
            do! append journal 12L [ over 2 ]
            do! append journal 13L [ submit 5; over 5 ]
            let unfinished = set [ taskId 4 ]

            for journal in [ journal; reopen store ] do
                let but = finishedBut unfinished journal
                Expect.equal (but 0 5) [ 2, true; 5, true ] "1 and 3 are gone"
                Expect.equal (but 2 5) [ 5, true ] "behind it"
                Expect.equal (but 1 2) [ 2, true ] "the one that was carried"

                Expect.equal
                    ((history journal).Finished(taskId 1, taskId 2, unfinished.Contains)[0]).name
                    "t/é '2'"
                    "its name is there too"

            do! close journal
        }
    ]

let private workers =
    testList "the name of a worker" [
        testTask "is known as long as the journal has it" {
            let store = new MemoryStore()
            let journal = journalOver store

            let nameOf number (journal: Journal) =
                (history journal).WorkerName(session number)

            Expect.equal (nameOf 5 journal) "session 5" "nobody's"

            do!
                append journal 1L [
                    Event.Joined(session 5, "forno «5»", [| "a" |])
                    Event.Joined(session 6, "six", [| "a" |])
                    Event.Left(session 5, "forno «5»", "silent")
                ]

            Expect.equal (nameOf 5 journal) "forno «5»" "also when it has left"
            Expect.equal (nameOf 5 (reopen store)) "forno «5»" "and after a restart"

            do!
                append journal 4L [
                    Event.Carried(Carried.Worker(session 6, "six", [| "a" |]))
                    Event.Dropped(4L, totals)
                ]

            do! drop journal 4L

            for journal in [ journal; reopen store ] do
                Expect.equal (nameOf 5 journal) "session 5" "of one that left"
                Expect.equal (nameOf 6 journal) "six" "of one that is here"

            do! append journal 6L [ Event.Left(session 6, "six", "bye") ]
            do! append journal 7L [ Event.Dropped(7L, totals) ]
            do! drop journal 7L
            Expect.equal (nameOf 6 journal) "session 6" "until it has left too"
            do! close journal
        }
    ]

[<Tests>]
let tests = testList "history" [ events; finished; workers ]
