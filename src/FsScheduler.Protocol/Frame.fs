namespace FsScheduler.Protocol

open FsScheduler.Core

/// A message with the size of the payload that follows it.
[<Struct>]
type Frame<'message> = { message: 'message; bytes: Size }

/// Why a line is not a frame of this protocol.
type FrameError = {
    code: ErrorCode
    /// Names the field, and the values that it may have.
    message: string
    /// The size of the payload to skip before the next frame, if the connection goes on.
    bytes: Size
}
