namespace FsScheduler.Protocol

open System
open System.Buffers
open FsScheduler.Core

/// The unions as lines of JSON. Hot path: written and read as UTF-8 bytes, without a string in between.
module Codec =

    /// The longest line, in bytes, with its newline.
    let lineBytesMax = ProtocolLimits.lineBytesMax

    /// The `protocol` of HELLO and WELCOME.
    let protocolVersion = ProtocolLimits.protocolVersion

    /// Reads what a worker or a client sent. Never throws, whatever the bytes are.
    let decodeToScheduler (line: ReadOnlySpan<byte>) : Result<Frame<ToScheduler>, FrameError> =
        Decode.toScheduler line

    /// Reads what a scheduler sent. Never throws, whatever the bytes are.
    let decodeFromScheduler (line: ReadOnlySpan<byte>) : Result<Frame<FromScheduler>, FrameError> =
        Decode.fromScheduler line

    /// Appends the line and its newline; the payload of `bytes` bytes is the caller's to append.
    let encodeToScheduler
        (output: IBufferWriter<byte>)
        (message: ToScheduler)
        (bytes: Size)
        : unit =
        Encode.toScheduler output message bytes

    /// Appends the line and its newline; the payload of `bytes` bytes is the caller's to append.
    let encodeFromScheduler
        (output: IBufferWriter<byte>)
        (message: FromScheduler)
        (bytes: Size)
        : unit =
        Encode.fromScheduler output message bytes
