namespace FsScheduler.Stages

open System
open System.Buffers
open System.Threading
open FsScheduler.Core

/// Which piece of a large input a payload is.
[<RequireQualifiedAccess>]
type PayloadPlace =
    /// No piece: the whole input.
    | Whole
    /// The first of several pieces.
    | FirstPiece
    | LaterPiece

    /// From the index of a piece, from 0; none for a payload that is no piece.
    static member OfPiece(piece: int voption) =
        match piece with
        | ValueNone -> Whole
        | ValueSome 0 -> FirstPiece
        | ValueSome _ -> LaterPiece

/// The buffer between two stages. Pushes the output of `previous` to `next` whenever 64 KiB have
/// come, so that memory stays bounded.
[<Sealed>]
type private Link(previous: StageRun, next: StageRun) =

    static let pushedAt = 65_536

    let buffer = ArrayBufferWriter<byte>()
    let mutable hasBegun = false

    /// Tells the next stage, before its first bytes, whether U+FEFF there can be a byte order mark.
    /// A text stage knows from its own input; decoded text has none.
    let start () =
        hasBegun <- true

        match previous, next with
        | (:? TextRun as text), (:? TextRun as next) -> next.MayBeMarked <- text.IsMarked
        | (:? DecodeRun), (:? TextRun as next) -> next.MayBeMarked <- false
        | _ -> ()

    /// Where `next` writes its output.
    member val Output: IBufferWriter<byte> = buffer with get, set

    member _.Clear() =
        hasBegun <- false
        buffer.ResetWrittenCount()

    member link.Flush() =
        if buffer.WrittenCount > 0 then
            if not hasBegun then
                start ()

            next.Push(buffer.WrittenSpan, link.Output)
            buffer.ResetWrittenCount()

    interface IBufferWriter<byte> with
        member link.Advance count =
            buffer.Advance count

            if buffer.WrittenCount >= pushedAt then
                link.Flush()

        member _.GetMemory sizeHint = buffer.GetMemory sizeHint
        member _.GetSpan sizeHint = buffer.GetSpan sizeHint

/// <summary>A pipeline as one stage: the output of each stage is the input of the next.</summary>
/// <param name="runs">The stages in order, at least one.</param>
[<Sealed>]
type Chain(runs: StageRun[]) =
    inherit StageRun()

    let last = runs.Length - 1

    /// `links[i]` is between stages `i` and `i + 1`.
    let links = Array.init last (fun index -> Link(runs[index], runs[index + 1]))

    do
        for index in 0 .. last - 2 do
            links[index].Output <- links[index + 1]

    let outputOf index (output: IBufferWriter<byte>) : IBufferWriter<byte> =
        if index = last then output else links[index]

    /// <summary>Starts the stages of a PROCESS message.</summary>
    /// <param name="tryStart">`BuiltIn.tryStart`, or a function that knows more stages.</param>
    /// <param name="stages">Each `name` or `name:argument`, at least one.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">There is no stage, a stage does not
    /// parse, or this worker cannot run a stage, which another worker may.</exception>
    static member Start(tryStart: Stage -> StageRun voption, stages: string[]) =
        let start wire =
            match Stage.parse wire with
            | Error message -> raise (StageException(message, false))
            | Ok stage ->
                match tryStart stage with
                | ValueSome run -> run
                | ValueNone ->
                    raise (StageException($"this worker has no stage '{stage.name}'", true))

        if Array.isEmpty stages then
            raise (StageException("there is no stage to run", false))

        Chain(Array.map start stages)

    /// Sets `StageRun.Cancellation` of all stages.
    member _.Heed(cancellation: CancellationToken) =
        for run in runs do
            run.Cancellation <- cancellation

    /// Tells the text stages which piece the payload is. To be called between `Reset` and the first
    /// `Push`, unless the payload is `Whole`.
    member _.Begin(place: PayloadPlace) =
        if place <> PayloadPlace.Whole then
            for run in runs do
                match run with
                | :? TextRun as text ->
                    text.MayBeMarked <- (place = PayloadPlace.FirstPiece)
                    text.IsFirstPiece <- (place = PayloadPlace.FirstPiece)
                | _ -> ()

    override _.Reset() =
        for run in runs do
            run.Reset()

        for link in links do
            link.Clear()

    override _.Push(input, output) =
        if last > 0 then
            links[last - 1].Output <- output

        runs[0].Push(input, outputOf 0 output)

        for link in links do
            link.Flush()

    override _.Finish output =
        if last > 0 then
            links[last - 1].Output <- output

        for index in 0..last do
            runs[index].Finish(outputOf index output)

            if index < last then
                links[index].Flush()
