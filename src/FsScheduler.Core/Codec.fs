namespace FsScheduler.Core

open System
open System.Buffers

/// A message with the size of the payload that follows it.
[<Struct>]
type Frame<'message> = { message: 'message; bytes: Size }

/// Why a line is not a frame of this protocol.
type FrameError = {
    code: ErrorCode
    /// Names the field and says what it should have been.
    message: string
    /// The payload to skip before the next frame, where the connection goes on.
    bytes: Size
}

/// The unions as lines of JSON. Hot path: written and read as UTF-8 bytes, without a string in between.
module Codec =

    /// The longest line, in bytes, with its newline.
    let lineBytesMax = 65_536

    /// The `protocol` of HELLO and WELCOME.
    let protocolVersion = 1

    let decodeToScheduler (line: ReadOnlySpan<byte>) : Result<Frame<ToScheduler>, FrameError> =
        failwith "codec"

    let decodeFromScheduler (line: ReadOnlySpan<byte>) : Result<Frame<FromScheduler>, FrameError> =
        failwith "codec"

    /// Appends the line and its newline; the payload of `bytes` bytes is the caller's to append.
    let encodeToScheduler
        (output: IBufferWriter<byte>)
        (message: ToScheduler)
        (bytes: Size)
        : unit =
        failwith "codec"

    let encodeFromScheduler
        (output: IBufferWriter<byte>)
        (message: FromScheduler)
        (bytes: Size)
        : unit =
        failwith "codec"
