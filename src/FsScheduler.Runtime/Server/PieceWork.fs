namespace FsScheduler.Runtime

open System
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Runtime.Files
open FsScheduler.Runtime.Stages

/// <summary>Cuts payloads into pieces and puts the results of pieces together, away from the mailbox, and tells the machine
/// how it went.</summary>
/// <param name="journal">Has the small parts.</param>
/// <param name="isKept">Whether what is at a path has to outlive the scheduler.</param>
/// <param name="note">Is told what a large result holds, at its path.</param>
/// <param name="temporary">A folder for what does not fit into memory on the way.</param>
/// <param name="holdup">Where it says that the disk takes nothing.</param>
/// <param name="clock">For the time between two tries.</param>
[<Sealed>]
type PieceWork
    (
        journal: IJournal,
        isKept: string -> bool,
        note: string -> Proof -> unit,
        temporary: string,
        holdup: Holdup,
        clock: Clock
    ) =
    // The larger of the two works may take minutes; the other need not wait for it.
    let threads = max 2 Environment.ProcessorCount
    let effects = Channel.CreateUnbounded<Effect>() // never more of them than tasks
    let betweenTries = TimeSpan.FromSeconds 1.0

    /// Results up to this size are held in memory, and in the journal.
    let smallMax = 64L * 1024L * 1L<B>

    /// Parts that are open at a time.
    let openMax = 256

    let bufferSize = 1024 * 1024

    let openPart part : Stream =
        match part with
        | Bytes bytes -> new MemoryStream(bytes, false)
        | Recorded(number, _) -> new MemoryStream(journal.ReadPayload number, false)
        | Spooled(path, _) -> new StraightFile(path, FileMode.Open)
        | Packed
        | Filed
        | Input _
        | Slice _ -> invalidOp "a part is a result"

    let concatenate (parts: Payload[]) (output: Stream) (ct: CancellationToken) : Task =
        task {
            for part in parts do
                use input = openPart part
                do! input.CopyToAsync(output, bufferSize, ct)
        }

    let mergeSome (stage: Stage) (parts: Payload[]) (output: Stream) ct : Task =
        task {
            let streams = parts |> Array.map openPart

            try
                let! _ = StageMerge.runAsync stage streams output temporary ct
                ()
            finally
                for stream in streams do
                    stream.Dispose()
        }

    /// Neighbours first, where there are too many to be open at once.
    let rec merge stage (parts: Payload[]) (output: Stream) ct : Task =
        task {
            if parts.Length <= openMax then
                do! mergeSome stage parts output ct
            else
                let mutable merged = []

                try
                    for group in Array.chunkBySize openMax parts do
                        let path = Path.Combine(temporary, $"merge-{Guid.NewGuid():N}")
                        merged <- path :: merged
                        use file = new StraightFile(path, FileMode.Create)
                        do! mergeSome stage group file ct

                    let groups = merged |> List.rev |> Seq.map (fun path -> Spooled(path, 0L<B>))
                    do! merge stage (Seq.toArray groups) output ct
                finally
                    List.iter SpoolFile.delete merged
        }

    let write stage parts (path: string) ct =
        task {
            use output = new ProvenFile(path)

            match stage with
            | ValueSome stage -> do! merge stage parts output ct
            | ValueNone -> do! concatenate parts output ct

            if isKept path then
                output.FlushToDisk()

            return output.Proof
        }

    let joinInto attempt stage parts path ct : Task<Input> =
        task {
            let! proof = write stage parts path ct

            if proof.size <= smallMax then
                let! bytes = File.ReadAllBytesAsync(path, ct)
                SpoolFile.delete path
                return Input.Joined(attempt, Bytes bytes)
            else
                note path proof
                return Input.Joined(attempt, Spooled(path, proof.size))
        }

    let unjoined attempt reason =
        Input.Unjoined(
            attempt,
            $"the results of its pieces cannot be put together: {reason}; if it is in quarantine, 'retry' makes all of them again"
        )

    /// A full disk is waited for: the parts are there, and are not computed again.
    let join (spool: Attempt -> Task<string | null>) attempt stage parts ct : Task<Input voption> =
        task {
            let mutable outcome = ValueNone

            try
                while outcome.IsNone do
                    match! spool attempt with
                    | null -> outcome <- ValueSome ValueNone
                    | path ->
                        try
                            try
                                let! joined = joinInto attempt stage parts path ct
                                outcome <- ValueSome(ValueSome joined)
                            finally
                                if outcome.IsNone then
                                    SpoolFile.delete path
                        with
                        | error when Disk.passes error ->
                            holdup.Begin(temporary, error.Message)
                            do! Task.Delay(betweenTries, clock.Provider, ct)
                        | Disk.Trouble reason ->
                            outcome <- ValueSome(ValueSome(unjoined attempt reason))
                        | :? StageException as error ->
                            outcome <- ValueSome(ValueSome(unjoined attempt error.Message))
            finally
                // However it ends, also where nobody wants it any more: it is not what holds new work back.
                holdup.End temporary

            return outcome.Value
        }

    member _.Post(effect: Effect) =
        effects.Writer.TryWrite effect |> ignore

    /// <summary>Works until it is stopped.</summary>
    /// <param name="bodies">Opens what is cut.</param>
    /// <param name="spool">A path for the result of an attempt; null where nobody wants it any more.</param>
    /// <param name="tell">Takes what the machine is to be told.</param>
    /// <param name="ct">Stops it, also in the middle of a result.</param>
    member _.RunAsync
        (
            bodies: Bodies,
            spool: Attempt -> Task<string | null>,
            tell: Input[] -> Task,
            ct: CancellationToken
        ) : Task =
        let perform effect : Task<Input voption> =
            match effect with
            | Effect.Cut(attempt, submission, payload, pieceSize) ->
                bodies.Cut(attempt, submission, payload, pieceSize)
                |> ValueOption.map (fun cuts -> Input.Cut(attempt, cuts))
                |> Task.FromResult
            | Effect.Join(attempt, stage, parts) -> join spool attempt stage parts ct
            | _ -> invalidOp "not a matter of pieces"

        let work () =
            task {
                try
                    while not ct.IsCancellationRequested do
                        let! effect = effects.Reader.ReadAsync ct

                        match! perform effect with
                        | ValueSome input -> do! tell [| input |]
                        | ValueNone -> ()
                with :? OperationCanceledException ->
                    ()
            }

        Task.WhenAll [ for _ in 1..threads -> Task.Run<unit>(fun () -> work ()) ] :> Task
