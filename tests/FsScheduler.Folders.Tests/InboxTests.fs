/// What the inbox takes from its folder, and when, by scans alone.
module FsScheduler.Folders.Tests.InboxTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Folders.Tests.TestInbox

let private withoutEvents = [
    testCaseTask "a folder of old files is handed over at once, in batches, by name" (fun () ->
        task {
            use setup = inboxWith id
            let all = List.sort [ for i in 1..600 -> $"f{i:D4}" ]

            for file in all do
                setup.Temp.Write("in/" + file, file)

            let inbox = setup.Start()
            do! ended (inbox.WaitUntilSettled())
            Expect.equal "by name" all setup.Names
            Expect.equal "bounded" [ 256; 256; 88 ] setup.Batches.Items
        })

    testCaseTask "a file that grows is taken when it has settled" (fun () ->
        task {
            use setup = inboxWith id
            setup.WriteNow("d/a", "1")
            let inbox = setup.Start()
            do! setup.Clock.Asleep()
            let settled = inbox.WaitUntilSettled()

            for text in [ "12"; "123"; "1234" ] do
                do! setup.Clock.Advance 400
                setup.WriteNow("d/a", text)

            do! setup.Clock.Advance 400
            Expect.isEmpty "each time it was found changed" setup.Taken.Items
            Expect.isFalse "pending" settled.IsCompleted
            do! setup.Clock.Advance 500
            let! taken = setup.Taken.Until(fun items -> not items.IsEmpty)

            Expect.equal "its last version" [ "d/a", 4L<B> ] [
                for name, stamp in taken -> name, stamp.size
            ]

            do! setup.Clock.Advance 5_000
            do! ended settled
            Expect.hasLength "once" 1 setup.Taken.Items
        })

    testCaseTask
        "a file that is held back is named after ten seconds, and taken once nothing holds it"
        (fun () ->
            task {
                let held = ref true

                use setup =
                    inboxWith (fun options -> {
                        options with
                            heldBack =
                                fun _ ->
                                    if held.Value then
                                        ValueSome "somebody writes"
                                    else
                                        ValueNone
                    })

                setup.Temp.Write("in/a", "a")
                let inbox = setup.Start()
                do! setup.Clock.Asleep()

                for _ in 1..4 do
                    do! setup.Clock.Advance 2_000

                Expect.isNull "not yet" inbox.Awaited

                for _ in 1..2 do
                    do! setup.Clock.Advance 2_000

                Expect.isEmpty "not taken" setup.Taken.Items
                Expect.stringStarts "named" "a has been waiting for 1" (nonNull inbox.Awaited)
                let struct (count, names) = inbox.Left
                Expect.equal "left" (1, [| "a" |]) (count, names)
                held.Value <- false

                for _ in 1..3 do
                    do! setup.Clock.Advance 2_000

                Expect.equal "taken" [ "a" ] setup.Names
                Expect.isNull "nothing is waited for" inbox.Awaited
            })

    testCaseTask "a change that no event told of is found by a scan" (fun () ->
        task {
            use setup = inboxWith id
            setup.Temp.Write("in/a", "old")
            setup.Start() |> ignore
            let! _ = setup.Taken.Until(fun items -> items.Length = 1)
            setup.WriteNow("a", "newer")
            setup.Temp.Write("in/b", "b")
            do! setup.Clock.Advance 2_000
            let! taken = setup.Taken.Until(fun items -> items.Length = 2)
            Expect.equal "what is new and whole" "b" (fst (List.item 1 taken))
            do! setup.Clock.Advance 500
            let! taken = setup.Taken.Until(fun items -> items.Length = 3)

            Expect.equal
                "the new version"
                ("a", 5L<B>)
                (fst (List.item 2 taken), (snd (List.item 2 taken)).size)
        })

    testCaseTask "a taken file that goes is told of" (fun () ->
        task {
            use setup = inboxWith id
            setup.Temp.Write("in/a", "a")
            setup.WriteNow("never taken", "b")
            setup.Start() |> ignore
            let! _ = setup.Taken.Until(fun items -> items.Length = 1)
            IO.File.Delete(setup.Temp.At "in/a")
            IO.File.Delete(setup.Temp.At "in/never taken")
            do! setup.Clock.Advance 2_000
            let! vanished = setup.Vanished.Until(fun items -> items.Length = 1)
            Expect.equal "the taken one" [ "a" ] vanished
            setup.Temp.Write("in/a", "a")
            do! setup.Clock.Advance 2_000
            let! taken = setup.Taken.Until(fun items -> items.Length = 2)
            Expect.equal "taken again when it is back" "a" (fst (List.item 1 taken))
            Expect.equal "nothing else went" [ "a" ] setup.Vanished.Items
        })

    testCaseTask "a version that could not be used is taken again" (fun () ->
        task {
            use setup = inboxWith id
            setup.Temp.Write("in/a", "a")
            let inbox = setup.Start()
            let! first = setup.Taken.Until(fun items -> items.Length = 1)
            do! setup.Clock.Asleep()
            do! inbox.Reconsider(name "a", snd (List.head first))
            let settled = inbox.WaitUntilSettled()

            while not settled.IsCompleted do
                do! setup.Clock.Advance 100

            Expect.hasLength "not settled before it was taken again" 2 setup.Taken.Items
        })

    testCaseTask "what is refused is told of once, and counted" (fun () ->
        task {
            use setup = inboxWith id
            setup.Temp.Write("secret", "s")
            setup.Temp.Link("in/out", setup.Temp.At "secret")
            setup.Temp.Link("in/nowhere", "nothing")
            setup.Temp.Write("in/" + String('x', 201), "x")
            let inbox = setup.Start()
            do! setup.Clock.Asleep()

            for _ in 1..3 do
                do! setup.Clock.Advance 2_000

            Expect.isEmpty "nothing taken" setup.Taken.Items
            Expect.equal "counted" 3 inbox.Refused
            let lines = setup.Log.Lines |> List.filter _.Contains("is refused")
            Expect.hasLength "once each" 3 lines

            Expect.exists
                "with a reason"
                (fun (line: string) ->
                    line.Contains("leads outside, to " + setup.Temp.At "secret"))
                lines
        })

    testCaseTask "a folder that goes and comes back is survived" (fun () ->
        task {
            use setup = inboxWith id
            setup.Temp.Write("in/a", "a")
            setup.Start() |> ignore
            let! _ = setup.Taken.Until(fun items -> items.Length = 1)
            Directory.Move(setup.Temp.At "in", setup.Temp.At "away")
            do! setup.Clock.Advance 2_000
            do! setup.Clock.Advance 2_000
            Directory.Move(setup.Temp.At "away", setup.Temp.At "in")
            setup.Temp.Write("in/b", "b")
            do! setup.Clock.Advance 2_000
            let! taken = setup.Taken.Until(fun items -> items.Length = 2)
            Expect.equal "only what is new" "b" (fst (List.item 1 taken))
            Expect.isEmpty "nothing was given up" setup.Vanished.Items
            let told = setup.Log.Lines |> List.filter _.Contains("waiting for it")
            Expect.hasLength "told once" 1 told
        })

    testCaseTask "the inbox waits for whoever takes" (fun () ->
        task {
            let gate = TaskCompletionSource()
            use setup = new TestInbox((fun _ -> id), (fun () -> gate.Task))

            for i in 1..300 do
                setup.Temp.Write($"in/{i}", "x")

            let inbox = setup.Start()
            let! _ = setup.Batches.Until(fun batches -> batches.Length = 1)
            let settled = inbox.WaitUntilSettled()
            Expect.equal "one batch" [ 256 ] setup.Batches.Items
            Expect.isFalse "not settled before all is handed over" settled.IsCompleted
            gate.SetResult()
            do! ended settled
            Expect.equal "then the next" [ 256; 44 ] setup.Batches.Items
        })

    testCaseTask "whoever takes can end the inbox by failing, and nobody waits for ever" (fun () ->
        task {
            let gate = TaskCompletionSource()
            use setup = new TestInbox((fun _ -> id), (fun () -> gate.Task))
            setup.Temp.Write("in/a", "a")
            let inbox = setup.Start()
            let! _ = setup.Batches.Until(fun batches -> batches.Length = 1)
            let settled = inbox.WaitUntilSettled()
            gate.SetException(InvalidOperationException "full")
            let! failure = ended inbox.Completion |> Async.AwaitTask |> Async.Catch
            Expect.isTrue "it is told" failure.IsChoice2Of2
            let! outcome = ended settled |> Async.AwaitTask |> Async.Catch
            Expect.isTrue "cancelled" outcome.IsChoice2Of2
        })
]

[<Tests>]
let tests = testList "InboxTests" withoutEvents
