module FsScheduler.Protocol.Tests.CodecTests

open System
open System.Buffers
open System.Text
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol

let private encodeWith encode (message: 'message) (bytes: Size) =
    let output = ArrayBufferWriter<byte>()
    encode (output :> IBufferWriter<byte>) message bytes
    Encoding.UTF8.GetString output.WrittenSpan

let private toScheduler = encodeWith Codec.encodeToScheduler
let private fromScheduler = encodeWith Codec.encodeFromScheduler

let private bytesOf (line: string) =
    ReadOnlySpan(Encoding.UTF8.GetBytes line)

let private readByScheduler line = Codec.decodeToScheduler (bytesOf line)

let private readByPeer line =
    Codec.decodeFromScheduler (bytesOf line)

let private attempt task number = { task = task; number = number }

let private ended: Done = {
    ref = "a1"
    task = 17L<taskId>
    attempts = 1
    outcome = TaskOutcome.Completed
    error = None
}

/// A line of PROTOCOL.md means this, and this is written so that it means the same.
let private isSaid reader read write line message bytes =
    test $"{reader} reads {line}" {
        Expect.equal (read line) (Ok { message = message; bytes = bytes }) "read"
        let written: string = write message bytes
        Expect.stringEnds written "\n" "written"
        Expect.equal (read written) (Ok { message = message; bytes = bytes }) "written and read"
    }

let private saidToScheduler = isSaid "a scheduler" readByScheduler toScheduler
let private saidByScheduler = isSaid "a peer" readByPeer fromScheduler

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
                protocol = 1
                role = Worker(Some [| "lower"; "upper" |])
                name = "node-7"
                token = Some "t"
                holding = [||]
                sharedFiles = false
            })
            0L<B>
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"worker","name":"node-7"}"""
            (ToScheduler.Hello {
                protocol = 1
                role = Worker None
                name = "node-7"
                token = None
                holding = [||]
                sharedFiles = false
            })
            0L<B>
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"client","name":"cli","token":"…"}"""
            (ToScheduler.Hello {
                protocol = 1
                role = Client
                name = "cli"
                token = Some "…"
                holding = [||]
                sharedFiles = false
            })
            0L<B>
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"worker","name":"node-7","holding":[[17,2],[19,1]]}"""
            (ToScheduler.Hello {
                protocol = 1
                role = Worker None
                name = "node-7"
                token = None
                holding = [|
                    { task = 17L<taskId>; number = 2 }
                    { task = 19L<taskId>; number = 1 }
                |]
                sharedFiles = false
            })
            0L<B>
        saidToScheduler
            """{"type":"HELLO","protocol":1,"role":"worker","name":"node-7","sharedFiles":true}"""
            (ToScheduler.Hello {
                protocol = 1
                role = Worker None
                name = "node-7"
                token = None
                holding = [||]
                sharedFiles = true
            })
            0L<B>
        saidToScheduler
            """{"type":"RESULT","task":17,"attempt":1,"ok":true,"stored":83}"""
            (ToScheduler.Stored({ task = 17L<taskId>; number = 1 }, 83L<B>))
            0L<B>
        saidToScheduler
            """{"type":"RESULT","task":17,"attempt":1,"ok":false,"error":"no such file","unshared":true}"""
            (ToScheduler.Unshared({ task = 17L<taskId>; number = 1 }, "no such file"))
            0L<B>
        saidToScheduler """{"type":"RETRY","all":true}""" ToScheduler.RetryAll 0L<B>
        saidToScheduler """{"type":"DRAIN","worker":"node-7"}""" (ToScheduler.Drain "node-7") 0L<B>
        saidToScheduler """{"type":"EXPLAIN","task":17}""" (ToScheduler.Explain 17L<taskId>) 0L<B>
        saidToScheduler
            """{"type":"EVENTS","task":17,"after":5,"most":10}"""
            (ToScheduler.Events { task = Some 17L<taskId>; after = 5L; most = 10 })
            0L<B>
        saidToScheduler
            """{"type":"LIST","after":5,"most":10,"states":["quarantined","done"],"name":"*.txt","stage":"ocr"}"""
            (ToScheduler.List {
                after = 5L<taskId>
                most = 10
                phases = [| Phase.Quarantined; Phase.Done |]
                name = Some "*.txt"
                stage = Some "ocr"
            })
            0L<B>
        saidToScheduler """{"type":"STAGES"}""" ToScheduler.Stages 0L<B>
        saidToScheduler """{"type":"FETCH","task":17}""" (ToScheduler.Fetch 17L<taskId>) 0L<B>
        saidByScheduler
            """{"type":"LIST","after":9,"more":true,"bytes":2}"""
            (FromScheduler.List(9L<taskId>, true))
            2L<B>
        saidByScheduler """{"type":"STAGES","bytes":2}""" FromScheduler.Stages 2L<B>
        saidByScheduler
            """{"type":"FETCH","task":17,"name":"a/b.txt","bytes":2}"""
            (FromScheduler.Fetch(17L<taskId>, "a/b.txt"))
            2L<B>
        saidByScheduler """{"type":"DRAIN"}""" FromScheduler.Drain 0L<B>
        saidByScheduler
            """{"type":"EXPLAIN","task":17,"bytes":2}"""
            (FromScheduler.Explanation 17L<taskId>)
            2L<B>
        saidByScheduler """{"type":"EVENTS","after":9}""" (FromScheduler.Events 9L) 0L<B>
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
            0L<B>
        saidToScheduler """{"type":"READY","slots":4}""" (ToScheduler.Ready 4) 0L<B>
        saidToScheduler """{"type":"BEAT"}""" ToScheduler.Beat 0L<B>
        saidByScheduler """{"type":"BEAT"}""" FromScheduler.Beat 0L<B>
        saidByScheduler
            """{"type":"PROCESS","task":17,"attempt":1,"name":"exemplo1.txt","stages":["lower"],"timeoutMs":300000,"bytes":83}"""
            (FromScheduler.Process {
                attempt = attempt 17L<taskId> 1
                name = "exemplo1.txt"
                stages = [| "lower" |]
                timeout = 300000L<ms>
                piece = ValueNone
                files = ValueNone
            })
            83L<B>
        saidByScheduler
            """{"type":"PROCESS","task":17,"attempt":1,"name":"livro.txt","stages":["lower"],"timeoutMs":300000,"piece":2,"from":"/dados/entrada/livro.txt","start":33554432,"size":16777216,"to":"/dados/spool/17-1.shared","length":1073741824,"modifiedUs":1795689600123456}"""
            (FromScheduler.Process {
                attempt = attempt 17L<taskId> 1
                name = "livro.txt"
                stages = [| "lower" |]
                timeout = 300000L<ms>
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
            0L<B>
        saidToScheduler
            """{"type":"RESULT","task":17,"attempt":1,"ok":true,"bytes":83}"""
            (ToScheduler.Result(attempt 17L<taskId> 1, Succeeded))
            83L<B>
        saidToScheduler
            """{"type":"RESULT","task":18,"attempt":2,"ok":false,"error":"invalid UTF-8 at byte 12","retry":false}"""
            (ToScheduler.Result(attempt 18L<taskId> 2, Failed("invalid UTF-8 at byte 12", false)))
            0L<B>
        saidToScheduler
            """{"type":"RESULT","task":18,"attempt":2,"ok":false,"error":"no space left","blame":"worker"}"""
            (ToScheduler.Result(attempt 18L<taskId> 2, Unable "no space left"))
            0L<B>
        saidByScheduler
            """{"type":"CANCEL","task":19,"attempt":1}"""
            (FromScheduler.Cancel(attempt 19L<taskId> 1))
            0L<B>
        saidToScheduler
            """{"type":"SUBMIT","ref":"a1","name":"nota.txt","pipeline":"lower | trim","priority":0,"key":"…","want":"result","bytes":12}"""
            (ToScheduler.Submit { submit with pipeline = "lower | trim"; key = Some "…" })
            12L<B>
        saidByScheduler
            """{"type":"ACCEPTED","ref":"a1","task":17}"""
            (FromScheduler.Accepted("a1", 17L<taskId>))
            0L<B>
        saidByScheduler
            """{"type":"DONE","ref":"a1","task":17,"ok":true,"outcome":"completed","attempts":1,"bytes":12}"""
            (FromScheduler.Done ended)
            12L<B>
        for text, outcome in
            [ "quarantined", TaskOutcome.Quarantined; "cancelled", TaskOutcome.Cancelled ] do
            saidByScheduler
                $$"""{"type":"DONE","ref":"a1","task":17,"ok":false,"error":"no","outcome":"{{text}}","attempts":1}"""
                (FromScheduler.Done { ended with outcome = outcome; error = Some "no" })
                0L<B>
        // An older scheduler leaves the outcome out.
        saidByScheduler
            """{"type":"DONE","ref":"a1","task":17,"ok":true,"attempts":1}"""
            (FromScheduler.Done ended)
            0L<B>
        for error, outcome in [ "no", TaskOutcome.Quarantined; "cancelled", TaskOutcome.Cancelled ] do
            saidByScheduler
                $$"""{"type":"DONE","ref":"a1","task":17,"ok":false,"error":"{{error}}","attempts":1}"""
                (FromScheduler.Done { ended with outcome = outcome; error = Some error })
                0L<B>
        saidByScheduler
            """{"type":"REJECTED","ref":"a2","code":"bad-pipeline","message":"unknown stage 'lowr'; did you mean 'lower'?"}"""
            (FromScheduler.Rejected(
                "a2",
                RejectionCode.BadPipeline,
                "unknown stage 'lowr'; did you mean 'lower'?"
            ))
            0L<B>
        saidToScheduler """{"type":"STATUS"}""" ToScheduler.Status 0L<B>
        saidToScheduler """{"type":"CANCEL","task":17}""" (ToScheduler.Cancel 17L<taskId>) 0L<B>
        saidToScheduler """{"type":"RETRY","task":17}""" (ToScheduler.Retry 17L<taskId>) 0L<B>
        saidToScheduler
            """{"type":"RETRY","task":17,"pipeline":"lower"}"""
            (ToScheduler.RetryWith(17L<taskId>, "lower"))
            0L<B>
        saidToScheduler
            """{"type":"RETRY","all":true,"pipeline":"lower"}"""
            (ToScheduler.RetryAllWith "lower")
            0L<B>
        saidByScheduler
            """{"type":"ERROR","code":"too-large","message":"…"}"""
            (FromScheduler.Error(ErrorCode.TooLarge, "…"))
            0L<B>
    ]

[<Tests>]
let tests = testList "codec" [ examples ]
