namespace FsScheduler.Conformance

open System
open System.Buffers
open System.Collections.Generic
open System.Text
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Protocol

/// The answer to a payload.
type Reply =
    | Done of result: byte[]
    | Refused of error: string

module Reply =

    let describe (reply: Reply) =
        match reply with
        | Done result -> $"a result of {result.Length} bytes"
        | Refused error -> $"ok:false, '{error}'"

    /// The texts of errors may differ.
    let areAlike (one: Reply) (other: Reply) =
        match one, other with
        | Done one, Done other -> one.AsSpan().SequenceEqual(ReadOnlySpan other)
        | Refused _, Refused _ -> true
        | Done _, Refused _
        | Refused _, Done _ -> false

/// Stages with known results.
module KnownStage =

    let private utf8 = UTF8Encoding(false, true)

    let private ofText (change: string -> string) (payload: byte[]) =
        try
            Done(utf8.GetBytes(change (utf8.GetString payload)))
        with :? DecoderFallbackException ->
            Refused "invalid UTF-8"

    let tryFind (stage: string) : (byte[] -> Reply) option =
        match stage with
        | "lower" -> Some(ofText _.ToLowerInvariant())
        | "upper" -> Some(ofText _.ToUpperInvariant())
        | _ -> None

/// A connection after HELLO, WELCOME and READY, with the messages that came before READY.
[<Sealed>]
type Session
    (
        scheduler: TestScheduler,
        connection: WorkerConnection,
        hello: Hello,
        slots: int,
        early: WorkerMessage seq
    ) =
    // Stages that need an argument.
    static let argued = [ "grep"; "replace"; "head" ]

    let replies = Dictionary<Attempt, Reply>()

    let offered =
        match hello.role with
        | Worker(Some stages) -> List.ofArray stages
        | Worker None
        | Client -> [ for stage in Stage.builtIn -> stage.name ]

    let stage =
        match scheduler.Examination.stage with
        | Some stage -> stage
        | None ->
            [ "lower"; "upper" ] @ (offered |> List.except argued) @ offered
            |> List.find (fun name -> List.contains name offered || offered.IsEmpty)

    let nameOf (stage: string) = (stage.Split ':')[0]

    do
        if not (List.contains (nameOf stage) offered) then
            let names = String.Join(", ", offered)
            raise (Unfit($"a worker that offers '{nameOf stage}'", $"it offers {names}"))

    let absorb (message: WorkerMessage) =
        match message with
        | WorkerMessage.Result(attempt, Succeeded, payload) -> replies[attempt] <- Done payload
        | WorkerMessage.Result(attempt, (Failed(error, _) | Unable error), _) ->
            replies[attempt] <- Refused error
        | WorkerMessage.Ready _
        | WorkerMessage.Beat
        | WorkerMessage.Closed
        | WorkerMessage.Wrong _
        | WorkerMessage.Hello _ -> ()

    do Seq.iter absorb early

    /// The name of every task, unless a check wants another.
    static member Name = "cartas/avó 🚀.txt"

    member _.WorkerConnection = connection
    member _.Hello = hello
    member _.Slots = slots
    member _.Stage = stage
    member _.New() = scheduler.AssignmentLog.New()

    /// Another stage that the worker offers and that needs no argument, if there is one.
    member _.OtherStage = offered |> List.except (nameOf stage :: argued) |> List.tryHead

    /// The bytes of a plain PROCESS with its payload. Counts the attempt as given.
    member session.Frame(attempt: Attempt, payload: byte[]) =
        session.FrameOf(attempt, [ stage ], payload)

    member _.FrameOf(attempt: Attempt, stages: string list, payload: byte[]) =
        scheduler.AssignmentLog.Give attempt
        let output = ArrayBufferWriter<byte>()

        let work = {
            attempt = attempt
            name = Session.Name
            stages = Array.ofList stages
            timeout = 300_000L<ms>
            piece = ValueNone
            files = ValueNone
        }

        Codec.encodeFromScheduler output (FromScheduler.Process work) (int64 payload.Length * 1L<B>)

        Array.append (output.WrittenSpan.ToArray()) payload

    /// The bytes of a given line, and a payload. Counts the attempt as given.
    member _.Line(attempt: Attempt, line: string, payload: byte[]) =
        scheduler.AssignmentLog.Give attempt
        Array.append (Encoding.UTF8.GetBytes(line + "\n")) payload

    /// The answer to a given attempt; answers to others are kept.
    member session.Reply(attempt: Attempt) : Task<Reply> = session.ReplyWithin(attempt, 1.0)

    /// As `Reply`, with a multiple of the usual time limit.
    member _.ReplyWithin(attempt: Attempt, patiences: float) : Task<Reply> =
        task {
            let expected = $"a RESULT for task {attempt.task}, attempt {attempt.number}"

            while not (replies.ContainsKey attempt) do
                let! message = connection.NextBefore(patiences * scheduler.Patience, expected)
                absorb message

            return replies[attempt]
        }

    /// Gives a plain task, and returns the answer.
    member session.RunStages(stages: string list, payload: byte[]) : Task<Reply> =
        task {
            let attempt = session.New()
            do! connection.Send(session.FrameOf(attempt, stages, payload))
            return! session.Reply attempt
        }

    member session.Run(payload: byte[]) : Task<Reply> = session.RunStages([ stage ], payload)

    /// The expected answer to a payload: for a stage with unknown results, the answer to a plain PROCESS.
    member session.Expected(payload: byte[]) : Task<Reply> =
        match KnownStage.tryFind stage with
        | Some known -> Task.FromResult(known payload)
        | None -> session.Run payload

    /// <exception cref="T:FsScheduler.Conformance.Unfit">The answers differ.</exception>
    member _.Compare(what: string, expected: Reply, seen: Reply) =
        if not (Reply.areAlike expected seen) then
            let difference =
                match expected, seen with
                | Done one, Done other when one.Length = other.Length ->
                    let at = (one.AsSpan().CommonPrefixLength(ReadOnlySpan other))
                    $"; they differ at byte {at}"
                | _ -> ""

            raise (
                Unfit(
                    $"{what}: {Reply.describe expected}, by '{stage}'",
                    Reply.describe seen + difference
                )
            )

    member session.Check(what: string, attempt: Attempt, expected: Reply) =
        task {
            let! reply = session.Reply attempt
            session.Compare(what, expected, reply)
        }

    /// <summary>Checks that the connection still works: two tasks are answered, and nothing else comes.</summary>
    /// <remarks>Surplus messages have come by the second answer, unless several threads write.</remarks>
    member session.Finish() : Task<unit> =
        task {
            let payload = Encoding.UTF8.GetBytes "Até LOGO\n"
            let! expected = session.Expected payload

            for _ in 1..2 do
                let! reply = session.Run payload
                session.Compare("a plain task after it", expected, reply)
        }
