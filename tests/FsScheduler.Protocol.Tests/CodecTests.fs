module FsScheduler.Protocol.Tests.CodecTests

open Expecto
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Protocol.Tests.CodecSupport

let private ended: Done = {
    ref = "a1"
    task = 17L<taskId>
    attempts = 1
    outcome = TaskOutcome.Completed
    error = None
}

/// A line of PROTOCOL.md means this, and this is written so that it means the same.
let private isSaid reader decode encode (bytes: Size) line message =
    test $"{reader} reads {line}" {
        Expect.equal (decode line) (Ok { message = message; bytes = bytes }) "read"
        let written = write encode message bytes
        Expect.stringEnds written "\n" "written"
        Expect.equal (decode written) (Ok { message = message; bytes = bytes }) "written and read"
    }

let private toSchedulerWith bytes =
    isSaid "a scheduler" toScheduler Codec.encodeToScheduler bytes

let private fromSchedulerWith bytes =
    isSaid "a peer" fromScheduler Codec.encodeFromScheduler bytes

let private saidToScheduler = toSchedulerWith 0L<B>
let private saidByScheduler = fromSchedulerWith 0L<B>

let private hello: Hello = {
    protocol = 1
    role = Role.Worker None
    name = "node-7"
    token = None
    holding = [||]
    sharedFiles = false
}

let private work: Process = {
    attempt = attempt 17 1
    name = "exemplo1.txt"
    stages = [| "lower" |]
    timeout = 300000L<ms>
    piece = ValueNone
    files = ValueNone
}

let private submit = {
    ref = "a1"
    name = "nota.txt"
    pipeline = ""
    priority = 0
    key = None
    want = Want.Result
}

let private examples =
    testList "the lines of the protocol" [
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"worker","name":"node-7","stages":["lower","upper"],"token":"t"}"""
            (ToScheduler.Hello {
                hello with
                    role = Role.Worker(Some [| "lower"; "upper" |])
                    token = Some "t"
            })
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"worker","name":"node-7"}"""
            (ToScheduler.Hello hello)
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"client","name":"cli","token":"…"}"""
            (ToScheduler.Hello { hello with role = Role.Client; name = "cli"; token = Some "…" })
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"worker","name":"node-7","holding":[[17,2],[19,1]]}"""
            (ToScheduler.Hello { hello with holding = [| attempt 17 2; attempt 19 1 |] })
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"worker","name":"node-7","sharedFiles":true}"""
            (ToScheduler.Hello { hello with sharedFiles = true })
        saidToScheduler
            """{"type":"RESULT","task":17,"attempt":1,"ok":true,"stored":83}"""
            (ToScheduler.Stored(attempt 17 1, 83L<B>))
        saidToScheduler
            """{"type":"RESULT","task":17,"attempt":1,"ok":false,"error":"no such file","unshared":true}"""
            (ToScheduler.Unshared(attempt 17 1, "no such file"))
        saidToScheduler """{"type":"RETRY","all":true}""" ToScheduler.RetryAll
        saidToScheduler """{"type":"DRAIN","worker":"node-7"}""" (ToScheduler.Drain "node-7")
        saidToScheduler """{"type":"EXPLAIN","task":17}""" (ToScheduler.Explain 17L<taskId>)
        saidToScheduler
            """{"type":"EVENTS","task":17,"after":5,"most":10}"""
            (ToScheduler.Events { task = Some 17L<taskId>; after = 5L; most = 10 })
        saidToScheduler
            """{"type":"LIST","after":5,"most":10,"states":["quarantined","done"],"name":"*.txt","stage":"ocr"}"""
            (ToScheduler.List {
                after = 5L<taskId>
                most = 10
                phases = [| Phase.Quarantined; Phase.Done |]
                name = Some "*.txt"
                stage = Some "ocr"
            })
        saidToScheduler """{"type":"STAGES"}""" ToScheduler.Stages
        saidToScheduler """{"type":"FETCH","task":17}""" (ToScheduler.Fetch 17L<taskId>)
        fromSchedulerWith
            2L<B>
            """{"type":"LIST","after":9,"more":true,"bytes":2}"""
            (FromScheduler.List(9L<taskId>, true))
        fromSchedulerWith 2L<B> """{"type":"STAGES","bytes":2}""" FromScheduler.Stages
        fromSchedulerWith
            2L<B>
            """{"type":"FETCH","task":17,"name":"a/b.txt","bytes":2}"""
            (FromScheduler.Fetch(17L<taskId>, "a/b.txt"))
        saidByScheduler """{"type":"DRAIN"}""" FromScheduler.Drain
        fromSchedulerWith
            2L<B>
            """{"type":"EXPLAIN","task":17,"bytes":2}"""
            (FromScheduler.Explanation 17L<taskId>)
        saidByScheduler """{"type":"EVENTS","after":9}""" (FromScheduler.Events 9L)
        saidByScheduler
            """{"type":"WELCOME","protocol":1,"session":"…","beatMs":1000,"lostAfterMs":5000,"maxPayload":67108864,"maxResult":17179869184}"""
            (FromScheduler.Welcome {
                protocol = 1
                session = "…"
                beat = 1000L<ms>
                lostAfter = 5000L<ms>
                maxPayload = 67108864L<B>
                maxResult = 17179869184L<B>
                keep = [||]
            })
        saidToScheduler """{"type":"READY","slots":4}""" (ToScheduler.Ready 4)
        saidToScheduler """{"type":"BEAT"}""" ToScheduler.Beat
        saidByScheduler """{"type":"BEAT"}""" FromScheduler.Beat
        fromSchedulerWith
            83L<B>
            """{"type":"PROCESS","task":17,"attempt":1,"name":"exemplo1.txt","stages":["lower"],"timeoutMs":300000,"bytes":83}"""
            (FromScheduler.Process work)
        saidByScheduler
            """{"type":"PROCESS","task":17,"attempt":1,"name":"livro.txt","stages":["lower"],"timeoutMs":300000,"piece":2,"from":"/dados/entrada/livro.txt","start":33554432,"size":16777216,"to":"/dados/spool/17-1.shared","length":1073741824,"modifiedUs":1795689600123456}"""
            (FromScheduler.Process {
                work with
                    name = "livro.txt"
                    piece = ValueSome 2
                    files =
                        ValueSome {
                            source = "/dados/entrada/livro.txt"
                            start = 33554432L<B>
                            size = 16777216L<B>
                            target = "/dados/spool/17-1.shared"
                            version =
                                ValueSome { length = 1073741824L<B>; modified = 1795689600123456L }
                        }
            })
        toSchedulerWith
            83L<B>
            """{"type":"RESULT","task":17,"attempt":1,"ok":true,"bytes":83}"""
            (ToScheduler.Result(attempt 17 1, Succeeded))
        saidToScheduler
            """{"type":"RESULT","task":18,"attempt":2,"ok":false,"error":"invalid UTF-8 at byte 12","retry":false}"""
            (ToScheduler.Result(attempt 18 2, Failed("invalid UTF-8 at byte 12", false)))
        saidToScheduler
            """{"type":"RESULT","task":18,"attempt":2,"ok":false,"error":"no space left","blame":"worker"}"""
            (ToScheduler.Result(attempt 18 2, Unable "no space left"))
        saidByScheduler
            """{"type":"CANCEL","task":19,"attempt":1}"""
            (FromScheduler.Cancel(attempt 19 1))
        toSchedulerWith
            12L<B>
            """{"type":"SUBMIT","ref":"a1","name":"nota.txt","pipeline":"lower | trim","priority":0,"key":"…","want":"result","bytes":12}"""
            (ToScheduler.Submit { submit with pipeline = "lower | trim"; key = Some "…" })
        saidByScheduler
            """{"type":"ACCEPTED","ref":"a1","task":17}"""
            (FromScheduler.Accepted("a1", 17L<taskId>))
        fromSchedulerWith
            12L<B>
            """{"type":"DONE","ref":"a1","task":17,"ok":true,"outcome":"completed","attempts":1,"bytes":12}"""
            (FromScheduler.Done ended)
        for text, outcome in
            [ "quarantined", TaskOutcome.Quarantined; "cancelled", TaskOutcome.Cancelled ] do
            saidByScheduler
                $$"""{"type":"DONE","ref":"a1","task":17,"ok":false,"error":"no","outcome":"{{text}}","attempts":1}"""
                (FromScheduler.Done { ended with outcome = outcome; error = Some "no" })
        // An older scheduler leaves the outcome out.
        saidByScheduler
            """{"type":"DONE","ref":"a1","task":17,"ok":true,"attempts":1}"""
            (FromScheduler.Done ended)
        for error, outcome in [ "no", TaskOutcome.Quarantined; "cancelled", TaskOutcome.Cancelled ] do
            saidByScheduler
                $$"""{"type":"DONE","ref":"a1","task":17,"ok":false,"error":"{{error}}","attempts":1}"""
                (FromScheduler.Done { ended with outcome = outcome; error = Some error })
        saidByScheduler
            """{"type":"REJECTED","ref":"a2","code":"bad-pipeline","message":"unknown stage 'lowr'; did you mean 'lower'?"}"""
            (FromScheduler.Rejected(
                "a2",
                RejectionCode.BadPipeline,
                "unknown stage 'lowr'; did you mean 'lower'?"
            ))
        saidToScheduler """{"type":"STATUS"}""" ToScheduler.Status
        saidToScheduler """{"type":"CANCEL","task":17}""" (ToScheduler.Cancel 17L<taskId>)
        saidToScheduler """{"type":"RETRY","task":17}""" (ToScheduler.Retry 17L<taskId>)
        saidToScheduler
            """{"type":"RETRY","task":17,"pipeline":"lower"}"""
            (ToScheduler.RetryWith(17L<taskId>, "lower"))
        saidToScheduler
            """{"type":"RETRY","all":true,"pipeline":"lower"}"""
            (ToScheduler.RetryAllWith "lower")
        saidByScheduler
            """{"type":"ERROR","code":"too-large","message":"…"}"""
            (FromScheduler.Error(ErrorCode.TooLarge, "…"))
    ]

[<Tests>]
let tests = testList "codec" [ examples ]
