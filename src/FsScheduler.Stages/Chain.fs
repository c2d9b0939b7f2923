namespace FsScheduler.Stages

open System
open System.Buffers
open System.Threading
open FsScheduler.Core

/// What a payload is to a file.
[<RequireQualifiedAccess>]
type PayloadPlace =
    /// All of it.
    | Whole
    /// The first of several pieces.
    | FirstPiece
    | LaterPiece

    /// The place of a piece, from 0; none: it is no piece.
    static member OfPiece(piece: int voption) =
        match piece with
        | ValueNone -> Whole
        | ValueSome 0 -> FirstPiece
        | ValueSome _ -> LaterPiece

/// Takes what a stage gives and pushes it on, often enough to stay small however much that is.
[<Sealed>]
type private Link(previous: StageRun, next: StageRun) =

    static let pushedAt = 65_536

    let buffer = ArrayBufferWriter<byte>()
    let mutable hasBegun = false

    /// Of what has been found out to be text, it is known whether there is a byte order mark in front of it.
    let start () =
        hasBegun <- true

        match previous, next with
        | (:? TextRun as text), (:? TextRun as next) -> next.MayBeMarked <- text.IsMarked
        | (:? DecodeRun), (:? TextRun as next) -> next.MayBeMarked <- false
        | _ -> ()

    /// Where the next stage writes to.
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

/// <summary>Stages one after the other, as one.</summary>
/// <param name="runs">At least one.</param>
[<Sealed>]
type Chain(runs: StageRun[]) =
    inherit StageRun()

    let last = runs.Length - 1

    /// The link before each stage but the first.
    let links = Array.init last (fun index -> Link(runs[index], runs[index + 1]))

    do
        for index in 0 .. last - 2 do
            links[index].Output <- links[index + 1]

    let outputOf index (output: IBufferWriter<byte>) : IBufferWriter<byte> =
        if index = last then output else links[index]

    /// <summary>Starts stages as they stand in a PROCESS message.</summary>
    /// <param name="tryStart">`BuiltIn.tryStart`, or what knows more stages than that.</param>
    /// <param name="stages">Each `name` or `name:argument`, at least one.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">A stage cannot be run here.</exception>
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

    /// What asks all of its stages to stop.
    member _.Heed(cancellation: CancellationToken) =
        for run in runs do
            run.Cancellation <- cancellation

    /// To be called between `Reset` and the payload, unless that is a whole one.
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
