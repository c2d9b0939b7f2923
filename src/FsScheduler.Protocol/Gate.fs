namespace FsScheduler.Protocol

open System.Net
open FsScheduler.Core

/// What the gate needs to know of its scheduler.
type GateRules = {
    /// None: everybody may come in.
    tokens: Tokens option
    /// Of a SUBMIT, or of a message that has none and is skipped.
    maxPayload: Size
    /// Of a RESULT.
    maxResult: Size
}

/// What a connection is to the scheduler.
[<RequireQualifiedAccess>]
type Standing =
    /// It has not said HELLO.
    | Stranger
    | Worker
    | Client

/// What to do with a frame. Its payload, if it is not delivered, is skipped.
[<RequireQualifiedAccess>]
type Verdict =
    /// Answer WELCOME; from now on it stands as its role.
    | Open of Hello
    /// Hand the message on.
    | Deliver
    /// Answer this error; the connection goes on.
    | Answer of ErrorCode * message: string
    /// Answer this error, and close.
    | Close of ErrorCode * message: string

/// Who may say what on a connection. Pure: it decides, the shell obeys.
module Gate =

    /// From the connection to the end of its HELLO.
    let helloWithin: Duration = 10_000L<ms>

    /// Without a byte, in the middle of a frame.
    let frameSilenceMax: Duration = 30_000L<ms>

    /// The verdict when `helloWithin` is over.
    let helloIsLate =
        Verdict.Close(ErrorCode.Timeout, $"no HELLO within {helloWithin / 1_000L<ms>} s")

    /// The verdict when `frameSilenceMax` is over.
    let frameIsStuck =
        Verdict.Close(
            ErrorCode.Timeout,
            $"a frame has not ended, and no byte came for {frameSilenceMax / 1_000L<ms>} s"
        )

    /// Whether the payload of this message means something. If not, it is skipped.
    let hasPayload (message: ToScheduler) =
        match message with
        | ToScheduler.Submit _
        | ToScheduler.Result(_, Succeeded) -> true
        | ToScheduler.Result(_, (Failed _ | Unable _))
        | ToScheduler.Stored _
        | ToScheduler.Unshared _
        | ToScheduler.Hello _
        | ToScheduler.Beat
        | ToScheduler.Ready _
        | ToScheduler.Status
        | ToScheduler.Cancel _
        | ToScheduler.Retry _
        | ToScheduler.RetryWith _
        | ToScheduler.RetryAll
        | ToScheduler.RetryAllWith _
        | ToScheduler.Drain _
        | ToScheduler.Explain _
        | ToScheduler.Events _
        | ToScheduler.List _
        | ToScheduler.Stages
        | ToScheduler.Fetch _ -> false

    let private tooLarge (bytes: Size) (most: Size) =
        Verdict.Close(ErrorCode.TooLarge, $"a payload of {bytes} bytes; the most is {most}")

    let private notWelcome message =
        Verdict.Close(ErrorCode.NotWelcome, message)

    let private hello (rules: GateRules) (hello: Hello) =
        if hello.protocol <> Codec.protocolVersion then
            Verdict.Close(
                ErrorCode.BadVersion,
                $"protocol {hello.protocol} is not spoken here; spoken is: {Codec.protocolVersion}"
            )
        else
            match rules.tokens with
            | Some tokens when not (tokens.Admit(hello.role, hello.token)) ->
                // Nothing says which: not whether a token was missing, wrong, or of the other role.
                Verdict.Close(ErrorCode.Unauthorized, "not authorized")
            | Some _
            | None -> Verdict.Open hello

    let private message (rules: GateRules) (standing: Standing) (message: ToScheduler) =
        match message, standing with
        | ToScheduler.Hello said, Standing.Stranger -> hello rules said
        | _, Standing.Stranger -> notWelcome "the first message must be HELLO"
        | ToScheduler.Hello _, (Standing.Worker | Standing.Client) -> notWelcome "a second HELLO"
        | (ToScheduler.Beat | ToScheduler.Ready _ | ToScheduler.Result _ | ToScheduler.Stored _ | ToScheduler.Unshared _),
          Standing.Worker
        | (ToScheduler.Submit _ | ToScheduler.Status | ToScheduler.Cancel _ | ToScheduler.Retry _ | ToScheduler.RetryWith _ | ToScheduler.RetryAll | ToScheduler.RetryAllWith _ | ToScheduler.Drain _ | ToScheduler.Explain _ | ToScheduler.Events _ | ToScheduler.List _ | ToScheduler.Stages | ToScheduler.Fetch _),
          Standing.Client -> Verdict.Deliver
        | (ToScheduler.Submit _ | ToScheduler.Status | ToScheduler.Cancel _ | ToScheduler.Retry _ | ToScheduler.RetryWith _ | ToScheduler.RetryAll | ToScheduler.RetryAllWith _ | ToScheduler.Drain _ | ToScheduler.Explain _ | ToScheduler.Events _ | ToScheduler.List _ | ToScheduler.Stages | ToScheduler.Fetch _),
          Standing.Worker -> notWelcome "a worker says HELLO, READY, BEAT and RESULT, nothing else"
        | (ToScheduler.Beat | ToScheduler.Ready _ | ToScheduler.Result _ | ToScheduler.Stored _ | ToScheduler.Unshared _),
          Standing.Client ->
            notWelcome
                "a client says HELLO, SUBMIT, STATUS, CANCEL, RETRY, DRAIN, EXPLAIN, EVENTS, LIST, STAGES and FETCH, nothing else"

    let private frameError (rules: GateRules) (standing: Standing) (error: FrameError) =
        // Which type it was is not known: a worker may have meant a RESULT.
        let bytesMax =
            match standing with
            | Standing.Worker -> max rules.maxPayload rules.maxResult
            | Standing.Stranger
            | Standing.Client -> rules.maxPayload

        match error.code, standing with
        | ErrorCode.UnknownType, Standing.Stranger -> notWelcome "the first message must be HELLO"
        | (ErrorCode.UnknownType | ErrorCode.BadField), _ when error.bytes > bytesMax ->
            tooLarge error.bytes bytesMax
        | (ErrorCode.UnknownType | ErrorCode.BadField), _ ->
            Verdict.Answer(error.code, error.message)
        | (ErrorCode.BadFrame | ErrorCode.TooLarge | ErrorCode.BadVersion | ErrorCode.Unauthorized | ErrorCode.NotWelcome | ErrorCode.Timeout),
          _ -> Verdict.Close(error.code, error.message)

    /// What to do with what came over a connection.
    let judge
        (rules: GateRules)
        (standing: Standing)
        (decoded: Result<Frame<ToScheduler>, FrameError>)
        : Verdict =
        match decoded with
        | Error error -> frameError rules standing error
        | Ok frame ->
            // What lies in a file counts like what comes with the message.
            let struct (bytes, bytesMax) =
                match frame.message with
                | ToScheduler.Stored(_, size) -> struct (max size frame.bytes, rules.maxResult)
                | ToScheduler.Result _
                | ToScheduler.Unshared _ -> struct (frame.bytes, rules.maxResult)
                | _ -> struct (frame.bytes, rules.maxPayload)

            match message rules standing frame.message with
            | Verdict.Open _
            | Verdict.Deliver when bytes > bytesMax -> tooLarge bytes bytesMax
            | verdict -> verdict

    /// <summary>Whether a scheduler may listen at this address.</summary>
    /// <returns>Ok, or what to do about it: beyond this machine, it needs tokens.</returns>
    let mayListen (address: IPAddress) (tokens: Tokens option) : Result<unit, string> =
        let address =
            if address.IsIPv4MappedToIPv6 then
                address.MapToIPv4()
            else
                address

        match tokens with
        | None when not (IPAddress.IsLoopback address) ->
            Error
                $"refusing to listen on {address} without tokens: anybody who reaches it could submit tasks and \
                  take them. Write a file with lines 'worker TOKEN' and 'client TOKEN', each token at least \
                  {Tokens.charsAdvised} random characters, and name it with --token-file; or listen on 127.0.0.1."
        | None
        | Some _ -> Ok()
