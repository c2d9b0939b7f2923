namespace FsScheduler.Protocol

open System.Net
open FsScheduler.Core

/// The conditions under which a scheduler admits messages.
type AccessRules = {
    /// The tokens of which HELLO needs one; none: every HELLO is admitted.
    tokens: Tokens option
    /// The largest payload of every message but RESULT.
    maxPayload: Size
    /// The largest payload of a RESULT.
    maxResult: Size
}

/// The role of a connection's peer, as the scheduler knows it.
[<RequireQualifiedAccess>]
type PeerRole =
    /// A peer whose HELLO has not come.
    | Stranger
    | Worker
    | Client

/// What the scheduler does with a frame. The payload of a frame that is not delivered is skipped.
[<RequireQualifiedAccess>]
type Admission =
    /// Answer WELCOME; the connection has the role of its HELLO from now on.
    | Open of Hello
    /// Hand the message on.
    | Deliver
    /// Answer this error; the connection goes on.
    | Answer of ErrorCode * message: string
    /// Answer this error, and close.
    | Close of ErrorCode * message: string

/// Which messages a peer may send. Pure: the connection carries out what is decided here.
module AccessControl =

    /// The longest time from the connection to the end of its HELLO.
    let helloWithin: Duration = 10_000L<ms>

    /// The longest time without a byte in the middle of a frame.
    let frameSilenceMax: Duration = 30_000L<ms>

    /// The answer when `helloWithin` is over.
    let helloIsLate =
        Admission.Close(ErrorCode.Timeout, $"no HELLO within {helloWithin / 1_000L<ms>} s")

    /// The answer when `frameSilenceMax` is over.
    let frameIsStuck =
        Admission.Close(
            ErrorCode.Timeout,
            $"a frame has not ended, and no byte came for {frameSilenceMax / 1_000L<ms>} s"
        )

    /// Whether messages of this type have payloads; the payload of any other is skipped.
    let hasPayload (message: ToScheduler) =
        match message with
        | ToScheduler.Submit _
        | ToScheduler.Result(_, Succeeded) -> true
        | _ -> false // everything that another message says is in its line

    let private tooLarge (bytes: Size) (bytesMax: Size) =
        Admission.Close(ErrorCode.TooLarge, $"a payload of {bytes} bytes; the most is {bytesMax}")

    let private notWelcome message =
        Admission.Close(ErrorCode.NotWelcome, message)

    let private hello (rules: AccessRules) (hello: Hello) =
        if hello.protocol <> Codec.protocolVersion then
            Admission.Close(
                ErrorCode.BadVersion,
                $"protocol {hello.protocol} is not supported; this scheduler supports: {Codec.protocolVersion}"
            )
        else
            match rules.tokens with
            | Some tokens when not (tokens.Admit(hello.role, hello.token)) ->
                // The answer does not tell whether the token is missing, wrong, or of the other role.
                Admission.Close(ErrorCode.Unauthorized, "not authorized")
            | Some _
            | None -> Admission.Open hello

    let private message (rules: AccessRules) (role: PeerRole) (message: ToScheduler) =
        match message, role with
        | ToScheduler.Hello said, PeerRole.Stranger -> hello rules said
        | _, PeerRole.Stranger -> notWelcome "the first message must be HELLO"
        | ToScheduler.Hello _, (PeerRole.Worker | PeerRole.Client) -> notWelcome "a second HELLO"
        | (ToScheduler.Result _ | ToScheduler.Beat), PeerRole.Worker
        | ToScheduler.Submit _, PeerRole.Client -> Admission.Deliver // the messages of every task, first
        | _, PeerRole.Worker when Codec.isForClient message ->
            notWelcome "a worker says HELLO, READY, BEAT and RESULT, nothing else"
        | _, PeerRole.Client when not (Codec.isForClient message) ->
            notWelcome $"a client says {Codec.wordsOfClient}, nothing else"
        | _, (PeerRole.Worker | PeerRole.Client) -> Admission.Deliver

    let private frameError (rules: AccessRules) (role: PeerRole) (error: FrameError) =
        // The type of the message is not known: a worker may have meant a RESULT.
        let bytesMax =
            match role with
            | PeerRole.Worker -> max rules.maxPayload rules.maxResult
            | PeerRole.Stranger
            | PeerRole.Client -> rules.maxPayload

        match error.code, role with
        | ErrorCode.UnknownType, PeerRole.Stranger -> notWelcome "the first message must be HELLO"
        | (ErrorCode.UnknownType | ErrorCode.BadField), _ when error.bytes > bytesMax ->
            tooLarge error.bytes bytesMax
        | (ErrorCode.UnknownType | ErrorCode.BadField), _ ->
            Admission.Answer(error.code, error.message)
        | (ErrorCode.BadFrame | ErrorCode.TooLarge | ErrorCode.BadVersion | ErrorCode.Unauthorized | ErrorCode.NotWelcome | ErrorCode.Timeout),
          _ -> Admission.Close(error.code, error.message)

    /// <summary>Decides what to do with a frame.</summary>
    /// <param name="rules">The conditions of this scheduler.</param>
    /// <param name="role">The role of the peer that sent the frame.</param>
    /// <param name="decoded">The frame, or why the line is none.</param>
    let admit
        (rules: AccessRules)
        (role: PeerRole)
        (decoded: Result<Frame<ToScheduler>, FrameError>)
        : Admission =
        match decoded with
        | Error error -> frameError rules role error
        | Ok frame ->
            // A result in a shared file has the same limit as one that comes with its message.
            let struct (bytes, bytesMax) =
                match frame.message with
                | ToScheduler.Stored(_, size) -> struct (max size frame.bytes, rules.maxResult)
                | ToScheduler.Result _
                | ToScheduler.Unshared _ -> struct (frame.bytes, rules.maxResult)
                | _ -> struct (frame.bytes, rules.maxPayload)

            match message rules role frame.message with
            | Admission.Open _
            | Admission.Deliver when bytes > bytesMax -> tooLarge bytes bytesMax
            | admission -> admission

    /// <summary>Whether a scheduler may listen at this address.</summary>
    /// <param name="address">An address that other machines reach needs tokens.</param>
    /// <param name="tokens">None: every peer is admitted.</param>
    /// <returns>Ok, or why not, and what to do.</returns>
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
