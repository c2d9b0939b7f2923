namespace FsScheduler.Conformance

open System
open System.Buffers
open System.Collections.Generic
open System.Text
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Protocol

/// What came of a payload.
type Reply =
    | Done of result: byte[]
    | Refused of error: string

module Reply =

    /// For people.
    let describe (reply: Reply) =
        match reply with
        | Done result -> $"a result of {result.Length} bytes"
        | Refused error -> $"ok:false, '{error}'"

    /// Errors are for people: they need not be equal.
    let areAlike (one: Reply) (other: Reply) =
        match one, other with
        | Done one, Done other -> one.AsSpan().SequenceEqual(ReadOnlySpan other)
        | Refused _, Refused _ -> true
        | Done _, Refused _
        | Refused _, Done _ -> false

/// Stages whose results are known beforehand.
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

/// <summary>A connection on which HELLO, WELCOME and READY have been said.</summary>
/// <param name="rig">Where it came to.</param>
/// <param name="link">The connection.</param>
/// <param name="hello">How the worker introduced itself.</param>
/// <param name="slots">How many tasks it takes at once.</param>
/// <param name="early">What came before its READY.</param>
[<Sealed>]
type Session(rig: TestScheduler, link: WorkerConnection, hello: Hello, slots: int, early: Heard seq)
    =
    // Stages that want an argument, and would fail without.
    static let argued = [ "grep"; "replace"; "head" ]

    let replies = Dictionary<Attempt, Reply>()

    let offered =
        match hello.role with
        | Worker(Some stages) -> List.ofArray stages
        | Worker None
        | Client -> [ for stage in Stage.builtIn -> stage.name ]

    let stage =
        match rig.Examination.stage with
        | Some stage -> stage
        | None ->
            [ "lower"; "upper" ] @ (offered |> List.except argued) @ offered
            |> List.find (fun name -> List.contains name offered || offered.IsEmpty)

    let nameOf (stage: string) = (stage.Split ':')[0]

    do
        if not (List.contains (nameOf stage) offered) then
            let names = String.Join(", ", offered)
            raise (Unfit($"a worker that offers '{nameOf stage}'", $"it offers {names}"))

    let absorb (heard: Heard) =
        match heard with
        | Heard.Result(attempt, Succeeded, payload) -> replies[attempt] <- Done payload
        | Heard.Result(attempt, (Failed(error, _) | Unable error), _) ->
            replies[attempt] <- Refused error
        | Heard.Ready _
        | Heard.Beat
        | Heard.Closed
        | Heard.Wrong _
        | Heard.Hello _ -> ()

    do Seq.iter absorb early

    /// What every PROCESS says if nothing else is wanted.
    static member Name = "cartas/avó 🚀.txt"

    member _.WorkerConnection = link
    member _.Hello = hello
    member _.Slots = slots
    member _.Stage = stage
    member _.New() = rig.AssignmentLog.New()

    /// Another stage that it offers, if there is one that needs no argument.
    member _.OtherStage = offered |> List.except (nameOf stage :: argued) |> List.tryHead

    /// The bytes of a plain PROCESS, with its payload. It counts as given.
    member session.Frame(attempt: Attempt, payload: byte[]) =
        session.FrameOf(attempt, [ stage ], payload)

    member _.FrameOf(attempt: Attempt, stages: string list, payload: byte[]) =
        rig.AssignmentLog.Give attempt
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

    /// A line of this text, and a payload. The attempt in it counts as given.
    member _.Line(attempt: Attempt, line: string, payload: byte[]) =
        rig.AssignmentLog.Give attempt
        Array.append (Encoding.UTF8.GetBytes(line + "\n")) payload

    /// What comes of an attempt that was given; results of others are kept until they are asked for.
    member session.Reply(attempt: Attempt) : Task<Reply> = session.ReplyWithin(attempt, 1.0)

    /// The same, with so many times the usual patience.
    member _.ReplyWithin(attempt: Attempt, patiences: float) : Task<Reply> =
        task {
            let expected = $"a RESULT for task {attempt.task}, attempt {attempt.number}"

            while not (replies.ContainsKey attempt) do
                let! heard = link.NextBefore(patiences * rig.Patience, expected)
                absorb heard

            return replies[attempt]
        }

    /// Gives a task, as plainly as can be, and returns what comes of it.
    member session.RunStages(stages: string list, payload: byte[]) : Task<Reply> =
        task {
            let attempt = session.New()
            do! link.Send(session.FrameOf(attempt, stages, payload))
            return! session.Reply attempt
        }

    member session.Run(payload: byte[]) : Task<Reply> = session.RunStages([ stage ], payload)

    /// What should come of a payload: of a stage that is not known, what has come of a plain PROCESS.
    member session.Expected(payload: byte[]) : Task<Reply> =
        match KnownStage.tryFind stage with
        | Some known -> Task.FromResult(known payload)
        | None -> session.Run payload

    /// <exception cref="T:FsScheduler.Conformance.Unfit">The two differ.</exception>
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

    /// Waits for what comes of an attempt, and compares.
    member session.Check(what: string, attempt: Attempt, expected: Reply) =
        task {
            let! reply = session.Reply attempt
            session.Compare(what, expected, reply)
        }

    /// <summary>The connection is as good as new: tasks are answered, and nothing else is.</summary>
    /// <remarks>What a worker sends too much it has sent by the time of the second answer, unless several threads
    /// write.</remarks>
    member session.Finish() : Task<unit> =
        task {
            let payload = Encoding.UTF8.GetBytes "Até LOGO\n"
            let! expected = session.Expected payload

            for _ in 1..2 do
                let! reply = session.Run payload
                session.Compare("a plain task after it", expected, reply)
        }
