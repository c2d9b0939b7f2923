/// How the tests of the codec write a message as a line, and read a line.
module FsScheduler.Protocol.Tests.CodecSupport

open System
open System.Buffers
open System.Text
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.TestKit

let lineOf encode (message: 'message) (bytes: Size) =
    let output = ArrayBufferWriter<byte>()
    encode (output :> IBufferWriter<byte>) message bytes
    output.WrittenSpan.ToArray()

/// A line as text.
let write encode message bytes : string =
    Encoding.UTF8.GetString(lineOf encode message bytes)

let decodeToScheduler (line: byte[]) =
    Codec.decodeToScheduler (ReadOnlySpan line)

let decodeFromScheduler (line: byte[]) =
    Codec.decodeFromScheduler (ReadOnlySpan line)

let toScheduler line = decodeToScheduler (utf8 line)
let fromScheduler line = decodeFromScheduler (utf8 line)

let messageOf (decoded: Result<Frame<'message>, FrameError>) =
    match decoded with
    | Ok frame -> frame.message
    | Error error -> failtest $"refused: {error}"

/// A string of that many bytes.
let a size = String('a', size)
