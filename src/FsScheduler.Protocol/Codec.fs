namespace FsScheduler.Protocol

open System
open System.Buffers
open System.Collections.Generic
open System.Text.Json
open FsScheduler.Core

/// Reads the messages of every task in one direction.
type private ReadHot<'union> =
    delegate of JsonObjectReader * ReadOnlySpan<byte> * HotKind -> 'union voption

/// Messages as lines of JSON.
module Codec =

    /// The longest line, in bytes, with its newline.
    let lineBytesMax = ProtocolLimits.lineBytesMax

    /// The `protocol` of HELLO and WELCOME.
    let protocolVersion = ProtocolLimits.protocolVersion

    let private byWord (declarations: Declaration<'union> list) =
        Dictionary(dict [ for declaration in declarations -> declaration.word, declaration ])

    let private toSchedulerWords = byWord ToSchedulerMessages.all
    let private fromSchedulerWords = byWord FromSchedulerMessages.all

    let private isKnown (word: string) =
        toSchedulerWords.ContainsKey word
        || fromSchedulerWords.ContainsKey word
        || JsonNames.kinds |> Array.exists (fun kind -> kind.Text = word)

    let private frameError code message bytes : Result<'frame, FrameError> =
        Error { code = code; message = message; bytes = bytes }

    /// The message, unless one of its fields was refused.
    let private complete (problem: string | null) bytes message =
        match problem with
        | null -> Ok { message = message; bytes = bytes }
        | problem -> frameError ErrorCode.BadField problem bytes

    let private readDeclared (declaration: Declaration<'union>) (line: ReadOnlySpan<byte>) bytes =
        use document = JsonDocument.Parse(ReadOnlyMemory(line.ToArray()))
        let fields = MessageFields document.RootElement
        let message = declaration.read fields
        complete fields.Problem bytes message

    /// Reads a line whose `type` is not one of the messages of every task.
    let private readWord
        (declared: Dictionary<string, Declaration<'union>>)
        (sender: string)
        (fields: JsonObjectReader)
        (line: ReadOnlySpan<byte>)
        bytes
        =
        let word = fields.CutText(line, Field.kind)

        match fields.Problem, declared.TryGetValue word with
        | null, (true, declaration) -> readDeclared declaration line bytes
        | null, _ when isKnown word ->
            frameError ErrorCode.NotWelcome $"{word} is not for a {sender} to send" bytes
        | null, _ ->
            frameError ErrorCode.UnknownType $"unknown type '{ProtocolLimits.cut 50 word}'" bytes
        | problem, _ -> frameError ErrorCode.BadField problem bytes

    /// Reads a line. The size of its payload says where the next frame begins: without the size the frame is a
    /// `BadFrame`, which ends the connection; with the size a frame with any other error can be skipped.
    let private read
        (hot: ReadHot<'union>)
        (declared: Dictionary<string, Declaration<'union>>)
        (sender: string)
        (line: ReadOnlySpan<byte>)
        : Result<Frame<'union>, FrameError> =
        let fields = JsonObjectReader.OfThread

        match JsonLine.note fields line with
        | null ->
            let bytes =
                if fields.Has Field.bytes then
                    fields.Integer(line, Field.bytes, 0L, ProtocolLimits.integerMax) * 1L<B>
                else
                    0L<B>

            match fields.Problem with
            | null ->
                let struct (isHot, kind) =
                    fields.ChoiceOr(line, Field.kind, JsonNames.kinds, HotKind.Beat)

                let message = if isHot then hot.Invoke(fields, line, kind) else ValueNone

                match message with
                | ValueSome message -> complete fields.Problem bytes message
                | ValueNone -> readWord declared sender fields line bytes
            | problem -> frameError ErrorCode.BadFrame problem 0L<B>
        | problem -> frameError ErrorCode.BadFrame problem 0L<B>

    let private readHotToScheduler =
        ReadHot<ToScheduler>(fun fields line kind -> HotMessages.readToScheduler fields line kind)

    let private readHotFromScheduler =
        ReadHot<FromScheduler>(fun fields line kind ->
            HotMessages.readFromScheduler fields line kind)

    /// Reads a message of a worker or a client. Never throws, whatever the bytes are.
    let decodeToScheduler (line: ReadOnlySpan<byte>) : Result<Frame<ToScheduler>, FrameError> =
        read readHotToScheduler toSchedulerWords "worker or client" line

    /// Reads a message of the scheduler. Never throws, whatever the bytes are.
    let decodeFromScheduler (line: ReadOnlySpan<byte>) : Result<Frame<FromScheduler>, FrameError> =
        read readHotFromScheduler fromSchedulerWords "scheduler" line

    let private writeDeclared (declared: Declaration<'union> list) output (message: 'union) =
        let tryWrite (declaration: Declaration<'union>) =
            match declaration.tryWrite message with
            | ValueSome write ->
                let writer = JsonOutput.start output (JsonEncodedText.Encode declaration.word)
                write writer
                Some writer
            | ValueNone -> None

        match List.tryPick tryWrite declared with
        | Some writer -> writer
        | None -> failwith $"%A{message} is not declared"

    let private write (hot: Utf8JsonWriter | null) declared output message bytes =
        let writer =
            match hot with
            | null -> writeDeclared declared output message
            | writer -> writer

        JsonOutput.finish writer output bytes

    /// Appends the line and its newline. The caller appends the payload, of `bytes` bytes.
    let encodeToScheduler
        (output: IBufferWriter<byte>)
        (message: ToScheduler)
        (bytes: Size)
        : unit =
        let hot = HotMessages.tryWriteToScheduler output message
        write hot ToSchedulerMessages.all output message bytes

    /// Appends the line and its newline. The caller appends the payload, of `bytes` bytes.
    let encodeFromScheduler (output: IBufferWriter<byte>) (message: FromScheduler) (bytes: Size) =
        let hot = HotMessages.tryWriteFromScheduler output message
        write hot FromSchedulerMessages.all output message bytes

    /// Whether only a client may send this message.
    let internal isForClient (message: ToScheduler) : bool =
        message.IsSubmit
        || ToSchedulerMessages.ofClients
           |> List.exists (fun declaration -> (declaration.tryWrite message).IsSome)

    /// The types of a client's messages, as a list for a sentence.
    let internal wordsOfClient =
        let words = [ for declaration in ToSchedulerMessages.ofClients -> declaration.word ]
        let last = List.last words

        "HELLO, SUBMIT, "
        + String.Join(", ", List.filter ((<>) last) words)
        + $" and {last}"
