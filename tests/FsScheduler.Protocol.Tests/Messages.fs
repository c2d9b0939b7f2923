/// Messages to test with: every case, every bound, and texts that are awkward to write.
module FsScheduler.Protocol.Tests.Messages

open System
open System.Text
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core

/// Escaped or not, of one to four bytes, combining, unassigned, private, from right to left.
let private pieces = [|
    yield! [| "a"; "Z"; "0"; " "; "/"; "<"; "&"; "'"; "{"; "]"; ","; ":"; "|" |]
    yield! [| "\""; "\\"; "\n"; "\r"; "\t"; "\000"; "\001"; "\127"; "\u0085" |]
    yield! [| "é"; "e\u0301"; "ß"; "ﷺ"; "שלום"; "中"; "\u2028"; "\u200b"; "\uFEFF" |]
    yield! [|
        "\uFFFD"
        "\uFFFE"
        "\uE000"
        "\u0378"
        "😀"
        "𝄞"
        "\U000E0041"
        "\U0010FFFF"
    |]
    yield! [| "\\u0041"; "\\ud800"; "{\"type\":\"BEAT\"}" |]
|]

/// As many of the runes as fit into that many bytes.
let private within (bytesMax: int) (text: string) =
    let kept = StringBuilder()
    let mutable bytes = 0

    for rune in text.EnumerateRunes() do
        bytes <- bytes + rune.Utf8SequenceLength

        if bytes <= bytesMax then
            kept.Append(rune.ToString()) |> ignore

    kept.ToString()

let private text bytesMax =
    Gen.frequency [
        10,
        Gen.elements pieces
        |> Gen.listOf
        |> Gen.map (String.concat "" >> within bytesMax)
        // As long as it may be, of the longest escapes.
        1,
        Gen.elements [| "a"; "\001"; "é"; "\uFFFE"; "\U0010FFFF" |]
        |> Gen.map (fun piece -> String.replicate bytesMax piece |> within bytesMax)
    ]

let private errorText =
    Gen.frequency [
        10, text 1_000
        1,
        Gen.elements [| "a"; "\001"; "é"; "\uFFFE" |]
        |> Gen.map (String.replicate ProtocolLimits.textCharsMax)
    ]

let private upTo (most: int64) =
    Gen.frequency [
        1, Gen.elements [ 0L; 1L; most ]
        2, Gen.choose64 (0L, most)
        4, Gen.choose64 (0L, 1_000L)
    ]
    |> Gen.map (min most)

let private upToInt (most: int) = upTo (int64 most) |> Gen.map int

let private count = upTo ProtocolLimits.integerMax

let sizes: Gen<Size> =
    Gen.frequency [ 1, Gen.constant 0L<B>; 2, count |> Gen.map ((*) 1L<B>) ]

let private tasks: Gen<TaskId> = count |> Gen.map (fun id -> max 1L id * 1L<taskId>)

let private attempts: Gen<Attempt> =
    gen {
        let! task = tasks
        let! number = upToInt Int32.MaxValue
        return { task = task; number = max 1 number }
    }

let private nothing<'item> : Gen<'item[]> = Gen.constant [||]

/// Fields as wide as any message has them: a message replaces those that it bounds further, and all lists.
let private basic =
    ArbMap.defaults
    |> ArbMap.mergeArb (Arb.fromGen count)
    |> ArbMap.mergeArb (Arb.fromGen (upToInt Int32.MaxValue))
    |> ArbMap.mergeArb (Arb.fromGen errorText)
    |> ArbMap.mergeArb (Arb.fromGen attempts)
    |> ArbMap.mergeArb (Arb.fromGen nothing<string>)
    |> ArbMap.mergeArb (Arb.fromGen nothing<WorkerReport>)

let private any<'value> : Gen<'value> = ArbMap.generate<'value> basic

let private holding: Gen<Attempt[]> =
    Gen.frequency [
        5, Gen.constant [||]
        3, Gen.arrayOf attempts |> Gen.map (Array.truncate ProtocolLimits.holdingMax)
        1, Gen.arrayOfLength ProtocolLimits.holdingMax attempts
    ]

let private stageName =
    gen {
        let! first = Gen.choose (int 'a', int 'z') |> Gen.map char
        let! size = Gen.choose (0, ProtocolLimits.stageNameBytesMax - 1)

        let! rest =
            Gen.elements (Seq.append [ 'a' .. 'z' ] "0189-_") |> Gen.arrayOfLength size

        return string first + String rest
    }

let private program =
    gen {
        let! kind = Gen.elements ProtocolLimits.execNames
        let! size = Gen.choose (1, 30)
        let! letters = Gen.elements (Seq.toList "aé/.- \"\\'") |> Gen.arrayOfLength size
        return $"{kind}:{String letters}"
    }

let private role: Gen<Role> =
    let named =
        gen {
            let! size =
                Gen.frequency [ 9, Gen.choose (0, 9); 1, Gen.constant ProtocolLimits.stagesMax ]

            let! names = Gen.arrayOfLength size stageName
            let! programsCount = Gen.frequency [ 3, Gen.constant 0; 1, Gen.choose (1, 40) ]
            let! programs = Gen.arrayOfLength programsCount program

            // Forty of the worst programs take as much of a line as 330 of the longest names.
            let names =
                if programsCount = 0 then
                    names
                else
                    Array.truncate (ProtocolLimits.stagesMax - 330) names

            let offers = Array.append names programs
            return Role.Worker(Some offers)
        }

    Gen.oneof [ Gen.constant Role.Client; Gen.constant (Role.Worker None); named ]

let private hello: Gen<Hello> =
    gen {
        let! role = role
        let! name = text ProtocolLimits.peerNameBytesMax
        let! token = Gen.optionOf (text ProtocolLimits.tokenBytesMax)

        let! holding = holding
        let! sharesFiles = any<bool>

        return {
            protocol = ProtocolLimits.protocolVersion
            role = role
            name = name
            token = token
            holding = if role = Role.Client then [||] else holding
            sharedFiles = role <> Role.Client && sharesFiles
        }
    }

let private submit: Gen<Submit> =
    gen {
        let! submit = any<Submit>
        let! ref = text ProtocolLimits.refBytesMax
        let! name = text 2_100
        let! pipeline = text ProtocolLimits.pipelineBytesMax
        let! priority = Gen.choose (-ProtocolLimits.priorityMax, ProtocolLimits.priorityMax)
        let! isUsual = any<bool>
        let! key = Gen.optionOf (text ProtocolLimits.keyBytesMax)

        return {
            submit with
                ref = ref
                name = name
                pipeline = pipeline
                priority = if isUsual then 0 else priority
                key = key
        }
    }

let private query: Gen<EventQuery> =
    gen {
        let! task = Gen.optionOf tasks
        let! after = count
        let! most = Gen.choose (1, ProtocolLimits.eventsMax)
        return { task = task; after = after; most = most }
    }

let private taskQuery: Gen<TaskQuery> =
    gen {
        let! after = count
        let! most = Gen.choose (1, ProtocolLimits.listedMax)
        let! wanted = any<Phase[]>
        let! name = Gen.optionOf (text TaskName.bytesMax)
        let! stage = Gen.optionOf (text ProtocolLimits.programBytesMax)

        return {
            after = after * 1L<taskId>
            most = most
            phases = Array.truncate 10 wanted
            name = name
            stage = stage
        }
    }

let toScheduler: Gen<ToScheduler> =
    Gen.oneof [
        hello |> Gen.map ToScheduler.Hello
        Gen.constant ToScheduler.Beat
        upToInt ProtocolLimits.slotsMax |> Gen.map ToScheduler.Ready
        any |> Gen.map ToScheduler.Result
        any |> Gen.map ToScheduler.Stored
        any |> Gen.map ToScheduler.Unshared
        submit |> Gen.map ToScheduler.Submit
        Gen.constant ToScheduler.Status
        tasks |> Gen.map ToScheduler.Cancel
        tasks |> Gen.map ToScheduler.Retry
        Gen.constant ToScheduler.RetryAll
        Gen.zip tasks (text ProtocolLimits.pipelineBytesMax)
        |> Gen.map ToScheduler.RetryWith
        text ProtocolLimits.pipelineBytesMax |> Gen.map ToScheduler.RetryAllWith
        text ProtocolLimits.peerNameBytesMax |> Gen.map ToScheduler.Drain
        tasks |> Gen.map ToScheduler.Explain
        query |> Gen.map ToScheduler.Events
        taskQuery |> Gen.map ToScheduler.List
        Gen.constant ToScheduler.Stages
        tasks |> Gen.map ToScheduler.Fetch
    ]

let private welcome: Gen<Welcome> =
    gen {
        let! welcome = any<Welcome>
        let! session = text ProtocolLimits.sessionBytesMax
        let! keep = holding
        let protocol = ProtocolLimits.protocolVersion
        return { welcome with protocol = protocol; session = session; keep = keep }
    }

let private sharedFiles: Gen<SharedFiles> =
    gen {
        let! files = any<SharedFiles>
        let! source = text ProtocolLimits.sharedPathBytesMax
        let! target = text ProtocolLimits.sharedPathBytesMax
        return { files with source = source; target = target }
    }

let private processing: Gen<Process> =
    gen {
        let! task = any<Process>
        let! name = text TaskName.bytesMax

        let! stages =
            Gen.frequency [
                9, text 90 |> Gen.arrayOf |> Gen.map (Array.truncate 80)
                // The most that a pipeline can be: of one stage, or of as many as there can be.
                1, text ProtocolLimits.pipelineBytesMax |> Gen.map Array.singleton
                1, Gen.constant (Array.replicate (ProtocolLimits.pipelineBytesMax / 2) "\001")
            ]

        let! piece =
            Gen.oneof [ Gen.constant ValueNone; Gen.map ValueSome (Gen.choose (0, 5000)) ]

        let! files = Gen.oneof [ Gen.constant ValueNone; Gen.map ValueSome sharedFiles ]
        return { task with name = name; stages = stages; piece = piece; files = files }
    }

let private finished: Gen<Done> =
    gen {
        let! finished = any<Done>
        let! ref = text ProtocolLimits.refBytesMax
        let! task = tasks
        return { finished with ref = ref; task = task }
    }

/// The longest name that a STATUS never cuts, whatever is in it, in bytes.
let private reportNameBytes = 28

let private worker: Gen<WorkerReport> =
    gen {
        let! report = any<WorkerReport>
        let! name = text reportNameBytes
        let! slots = upToInt ProtocolLimits.slotsMax
        let session = max 1L<sessionId> report.session
        return { report with session = session; name = name; slots = slots }
    }

let private status: Gen<StatusReport> =
    let texts most bytesMax =
        Gen.choose (0, most)
        |> Gen.bind (fun size -> Gen.arrayOfLength size (text bytesMax))

    gen {
        let! report = any<StatusReport>
        // Whatever is in it, so much is never cut.
        let! trouble = Gen.optionOf (text 86)
        let! awaited = Gen.optionOf (text 46)
        let! missing = texts ProtocolLimits.missingMax 8
        let! heldBack = texts ProtocolLimits.heldBackMax 30

        let! size =
            Gen.frequency [ 9, Gen.choose (0, 5); 1, Gen.constant ProtocolLimits.workersMax ]

        let! workers = Gen.arrayOfLength size worker

        return {
            report with
                trouble = trouble
                awaited = awaited
                missing = missing
                heldBack = heldBack
                workers = workers
        }
    }

let fromScheduler: Gen<FromScheduler> =
    Gen.oneof [
        welcome |> Gen.map FromScheduler.Welcome
        Gen.constant FromScheduler.Beat
        processing |> Gen.map FromScheduler.Process
        attempts |> Gen.map FromScheduler.Cancel
        Gen.zip (text ProtocolLimits.refBytesMax) tasks
        |> Gen.map FromScheduler.Accepted
        finished |> Gen.map FromScheduler.Done
        Gen.zip3 (text ProtocolLimits.refBytesMax) any errorText
        |> Gen.map FromScheduler.Rejected
        status |> Gen.map FromScheduler.Status
        Gen.constant FromScheduler.Drain
        tasks |> Gen.map FromScheduler.Explanation
        count |> Gen.map FromScheduler.Events
        any |> Gen.map FromScheduler.List
        Gen.constant FromScheduler.Stages
        Gen.zip tasks (text TaskName.bytesMax) |> Gen.map FromScheduler.Fetch
        any |> Gen.map FromScheduler.Error
    ]
