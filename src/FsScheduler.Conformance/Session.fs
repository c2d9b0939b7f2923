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

    /// Whether the results are equal, or both are errors, of whatever text.
    let areAlike (one: Reply) (other: Reply) =
        match one, other with
        | Done one, Done other -> one.AsSpan().SequenceEqual(ReadOnlySpan other)
        | Refused _, Refused _ -> true
        | Done _, Refused _
        | Refused _, Done _ -> false

/// Text as the payload of a task.
[<AutoOpen>]
module internal Text =
    let utf8 (text: string) = Encoding.UTF8.GetBytes text

/// Stages with known results.
module KnownStage =

    let private strict = UTF8Encoding(false, true)

    let private ofText (change: string -> string) (payload: byte[]) =
        try
            Done(utf8 (change (strict.GetString payload)))
        with :? DecoderFallbackException ->
            Refused "invalid UTF-8"

    let tryFind (stage: string) : (byte[] -> Reply) option =
        match stage with
        | "lower" -> Some(ofText _.ToLowerInvariant())
        | "upper" -> Some(ofText _.ToUpperInvariant())
        | _ -> None

/// A connection after HELLO, WELCOME and READY, and the answers of the worker to tasks.
[<Sealed>]
type Session
    (
        scheduler: TestScheduler,
        connection: WorkerConnection,
        hello: Hello,
        slots: int,
        early: WorkerMessage seq
    ) =
    static let stagesWithArgument = [ "grep"; "replace"; "head" ]

    let replies = Dictionary<Attempt, Reply>()

    let offered =
        match hello.role with
        | Role.Worker(Some stages) -> List.ofArray stages
        | Role.Worker None
        | Role.Client -> [ for stage in Stage.builtIn -> stage.name ]

    let stage =
        match scheduler.Examination.stage with
        | Some stage -> stage
        | None ->
            [ "lower"; "upper" ] @ (offered |> List.except stagesWithArgument) @ offered
            |> List.find (fun name -> List.contains name offered || offered.IsEmpty)

    let nameOf (stage: string) = (stage.Split ':')[0]

    do
        if not (List.contains (nameOf stage) offered) then
            let names = String.Join(", ", offered)
            failCheck $"a worker that offers '{nameOf stage}'" $"it offers {names}"

    let absorb (message: WorkerMessage) =
        match message with
        | WorkerMessage.Result(attempt, Succeeded, payload) -> replies[attempt] <- Done payload
        | WorkerMessage.Result(attempt, (Failed(error, _) | Unable error), _) ->
            replies[attempt] <- Refused error
        | WorkerMessage.Ready _
        | WorkerMessage.Beat
        | WorkerMessage.Closed
        | WorkerMessage.Violation _
        | WorkerMessage.Hello _ -> ()

    do Seq.iter absorb early

    /// The name of every task, unless a check wants another.
    static member TaskName = "cartas/avó 🚀.txt"

    member _.Connection = connection
    member _.Hello = hello
    member _.Slots = slots
    member _.Stage = stage
    member _.NewAttempt() = scheduler.Assignments.NewAttempt()

    /// Another stage of the worker, one that needs no argument.
    member _.OtherStage =
        offered |> List.except (nameOf stage :: stagesWithArgument) |> List.tryHead

    /// The bytes of a plain PROCESS and its payload. Counts the attempt as assigned.
    member session.Frame(attempt: Attempt, payload: byte[]) =
        session.FrameOf(attempt, [ stage ], payload)

    member _.FrameOf(attempt: Attempt, stages: string list, payload: byte[]) =
        scheduler.Assignments.Add attempt
        let output = ArrayBufferWriter<byte>()

        let work = {
            attempt = attempt
            name = Session.TaskName
            stages = Array.ofList stages
            timeout = 300_000L<ms>
            piece = ValueNone
            files = ValueNone
        }

        Codec.encodeFromScheduler output (FromScheduler.Process work) (int64 payload.Length * 1L<B>)

        Array.append (output.WrittenSpan.ToArray()) payload

    /// The bytes of a line and a payload. Counts the attempt as assigned.
    member _.Line(attempt: Attempt, line: string, payload: byte[]) =
        scheduler.Assignments.Add attempt
        Array.append (utf8 (line + "\n")) payload

    /// The answer to an attempt. Answers to other attempts are kept for later calls.
    member session.Reply(attempt: Attempt) : Task<Reply> = session.ReplyWithin(attempt, 1.0)

    /// As `Reply`, with this multiple of the usual time limit.
    member _.ReplyWithin(attempt: Attempt, patiences: float) : Task<Reply> =
        task {
            let expected = $"a RESULT for task {attempt.task}, attempt {attempt.number}"

            while not (replies.ContainsKey attempt) do
                let! message = connection.NextBefore(patiences * scheduler.Patience, expected)
                absorb message

            return replies[attempt]
        }

    /// Assigns a plain task.
    member session.Assign(payload: byte[]) : Task<Attempt> =
        task {
            let attempt = session.NewAttempt()
            do! connection.Send(session.Frame(attempt, payload))
            return attempt
        }

    /// Assigns a task of these stages, and returns the answer.
    member session.RunStages(stages: string list, payload: byte[]) : Task<Reply> =
        task {
            let attempt = session.NewAttempt()
            do! connection.Send(session.FrameOf(attempt, stages, payload))
            return! session.Reply attempt
        }

    member session.Run(payload: byte[]) : Task<Reply> = session.RunStages([ stage ], payload)

    /// The expected answer to a payload: for a stage with unknown results, the answer to a plain PROCESS.
    member session.Expected(payload: byte[]) : Task<Reply> =
        match KnownStage.tryFind stage with
        | Some known -> Task.FromResult(known payload)
        | None -> session.Run payload

    /// <exception cref="T:FsScheduler.Conformance.CheckFailed">The answers differ.</exception>
    member _.Compare(what: string, expected: Reply, seen: Reply) =
        if not (Reply.areAlike expected seen) then
            let difference =
                match expected, seen with
                | Done one, Done other when one.Length = other.Length ->
                    let at = (one.AsSpan().CommonPrefixLength(ReadOnlySpan other))
                    $"; they differ at byte {at}"
                | _ -> ""

            failCheck
                $"{what}: {Reply.describe expected}, by '{stage}'"
                (Reply.describe seen + difference)

    member session.Check(what: string, attempt: Attempt, expected: Reply) =
        task {
            let! reply = session.Reply attempt
            session.Compare(what, expected, reply)
        }

    /// <summary>Checks that the worker answers two more tasks, and sends nothing else.</summary>
    /// <remarks>Surplus messages have come by the second answer, unless the worker writes from several threads.</remarks>
    member session.Finish() : Task<unit> =
        task {
            let payload = utf8 "Até LOGO\n"
            let! expected = session.Expected payload

            for _ in 1..2 do
                let! reply = session.Run payload
                session.Compare("a plain task at the end of the check", expected, reply)
        }
