namespace FsScheduler.Execution

open System
open System.Text
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Stages

/// The input of a stage function.
type StageCall = {
    /// The text after the colon in `stage:argument`; empty without one.
    argument: string
    /// The name of the task: a relative path with `/`.
    name: string
    attempt: Attempt
    /// The number of this piece of the payload, from 0; none: the whole payload.
    piece: int voption
    /// Valid during the call.
    payload: ReadOnlyMemory<byte>
    /// Cancelled when nobody waits for the result any more.
    cancellation: CancellationToken
}

/// A stage in code: a payload in, a result out. Runs at the same time for as many tasks as the worker has slots. A
/// `StageException` says whether another attempt makes sense; any other exception asks for one.
type StageFunction = delegate of StageCall -> Task<ReadOnlyMemory<byte>>

module StageFunction =

    /// The largest payload of a stage function, in bytes of memory.
    let payloadMax = 256L * 1024L * 1024L * 1L<B>

    /// Invalid UTF-8 throws: reading must not change a text.
    let private strict = UTF8Encoding(false, true)

    let private decode (payload: ReadOnlyMemory<byte>) =
        try
            strict.GetString payload.Span
        with :? DecoderFallbackException as error ->
            raise (StageException($"invalid UTF-8 at byte {error.Index}", false))

    /// A stage function of bytes.
    let ofBytes (run: byte[] -> byte[]) =
        StageFunction(fun call -> Task.FromResult(ReadOnlyMemory(run (call.payload.ToArray()))))

    /// A stage function of the argument and a UTF-8 text, with its byte order mark (U+FEFF), if there is one.
    let ofTextWith (run: string -> string -> string) =
        StageFunction(fun call ->
            let result: byte[] = strict.GetBytes(run call.argument (decode call.payload))
            Task.FromResult(ReadOnlyMemory result))

    /// What a stage does with a byte order mark.
    type internal Mark =
        | Kept
        | Dropped

    /// A stage function of a UTF-8 text, without the byte order mark (U+FEFF) of the payload.
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

    /// A stage function of a UTF-8 text, with the byte order mark (U+FEFF) of the payload, if there is one.
    let ofText (run: string -> string) = ofTextWith (fun _ text -> run text)
