namespace FsScheduler.Execution

open System
open System.Text
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Stages

/// What a stage function is called with.
type StageCall = {
    /// What follows the colon in `stage:argument`; empty when there is none.
    argument: string
    /// The name of the task: a relative path with `/`.
    name: string
    attempt: Attempt
    /// Which piece of the payload of that name this is, from 0; none: it is all of it.
    piece: int voption
    /// Valid during the call.
    payload: ReadOnlyMemory<byte>
    /// Cancelled when nobody waits for the result any more.
    cancellation: CancellationToken
}

/// A stage in code: a payload in, a result out. It may run at the same time for as many tasks as the worker has
/// slots. A `StageException` says whether another attempt makes sense; any other exception asks for one.
type StageFunction = delegate of StageCall -> Task<ReadOnlyMemory<byte>>

module StageFunction =

    /// The largest payload of a stage function, which has it in memory.
    let payloadMax = 256L * 1024L * 1024L * 1L<B>

    /// Bytes that are not UTF-8 throw: text is never changed by being read.
    let private strict = UTF8Encoding(false, true)

    let private decode (payload: ReadOnlyMemory<byte>) =
        try
            strict.GetString payload.Span
        with :? DecoderFallbackException as error ->
            raise (StageException($"invalid UTF-8 at byte {error.Index}", false))

    /// A function of bytes.
    let ofBytes (run: byte[] -> byte[]) =
        StageFunction(fun call -> Task.FromResult(ReadOnlyMemory(run (call.payload.ToArray()))))

    /// A function of the argument and of text in UTF-8, which it gets with a byte order mark (U+FEFF) in front if the
    /// payload has one.
    let ofTextWith (run: string -> string -> string) =
        StageFunction(fun call ->
            let result: byte[] = strict.GetBytes(run call.argument (decode call.payload))
            Task.FromResult(ReadOnlyMemory result))

    /// What becomes of a text without the byte order mark in front of it.
    type internal Mark =
        | Kept
        | Dropped

    /// A function of text in UTF-8, which it gets without the byte order mark (U+FEFF) that may be in front of it.
    let internal ofUnmarked mark (run: string -> string) =
        StageFunction(fun call ->
            let text = decode call.payload

            let isMarked =
                text.StartsWith '\uFEFF' && (call.piece.IsNone || call.piece.Value = 0)

            let result = run (if isMarked then text.Substring 1 else text)

            let marked =
                match mark with
                | Kept when isMarked -> "\uFEFF" + result
                | Kept
                | Dropped -> result

            Task.FromResult(ReadOnlyMemory(strict.GetBytes marked)))

    /// A function of text in UTF-8, which it gets with a byte order mark (U+FEFF) in front if the payload has one.
    let ofText (run: string -> string) = ofTextWith (fun _ text -> run text)
