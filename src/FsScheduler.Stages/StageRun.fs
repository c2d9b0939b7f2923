namespace FsScheduler.Stages

open System
open System.Buffers
open System.Threading

/// <summary>A stage has no result for this payload. Stages written by users may raise this
/// exception too.</summary>
/// <param name="message">What failed, and where in the payload, for people to read.</param>
/// <param name="retry">Whether another attempt, maybe on another worker, could succeed.</param>
/// <param name="isOfWorker">Whether the cause is the worker's machine, which lacks space or
/// something that the stage needs, and not the payload.</param>
type StageException(message: string, retry: bool, isOfWorker: bool) =
    inherit Exception(message)

    new(message, retry) = StageException(message, retry, false)

    /// Whether the cause is the worker's machine and not the payload.
    member _.IsOfWorker = isOfWorker

    /// Whether another attempt, maybe on another worker, could succeed.
    member _.Retry = retry

/// A started stage: takes the bytes of a payload in pieces of any size, and appends the result, in
/// bounded memory. The sizes of the pieces make no difference to the result. For one payload and
/// one thread at a time.
[<AbstractClass>]
type StageRun() =

    /// Asks the stage to stop. Long work inside `Push` and `Finish` looks at the token.
    member val Cancellation = CancellationToken.None with get, set

    /// Forgets the last payload, finished or not, and releases what the stage holds for that
    /// payload, such as files. To be called before each payload, and after a payload that failed.
    abstract Reset: unit -> unit

    /// <summary>Takes the next bytes of the payload, and appends the bytes of the result that are
    /// certain by now.</summary>
    /// <param name="input">May be empty, and may end inside a character.</param>
    /// <param name="output">Receives the result.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">The payload has no result.</exception>
    abstract Push: input: ReadOnlySpan<byte> * output: IBufferWriter<byte> -> unit

    /// <summary>Ends the payload, and appends the rest of the result.</summary>
    /// <exception cref="T:FsScheduler.Stages.StageException">The payload has no result.</exception>
    abstract Finish: output: IBufferWriter<byte> -> unit
