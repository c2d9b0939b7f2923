namespace FsScheduler.Stages

open System
open System.Buffers
open System.Threading

/// <summary>A stage cannot give a result for this payload. Stages of users may throw it too.</summary>
/// <param name="message">For a person: what is wrong, and where in the payload.</param>
/// <param name="retry">Another attempt, maybe on another worker, could succeed.</param>
/// <param name="isOfWorker">The machine is to blame: it has no room, or not what the stage needs. The payload is not.</param>
type StageException(message: string, retry: bool, isOfWorker: bool) =
    inherit Exception(message)

    new(message, retry) = StageException(message, retry, false)

    /// The machine is to blame, and not the payload.
    member _.IsOfWorker = isOfWorker

    /// Another attempt, maybe on another worker, could succeed.
    member _.Retry = retry

/// A stage at work: bytes in, in pieces of any size, and bytes out, in bounded memory.
/// For one payload at a time and one thread. The pieces make no difference to the result.
[<AbstractClass>]
type StageRun() =

    /// Asks it to stop, which what takes long inside `Push` and `Finish` looks at.
    member val Cancellation = CancellationToken.None with get, set

    /// Forgets the payload before, whether it ended well or not, and gives back what it holds for it, such as files.
    /// To be called before each payload, and after one that did not end well.
    abstract Reset: unit -> unit

    /// <summary>Takes the next bytes of the payload, and appends what they settle of the result.</summary>
    /// <param name="input">May be empty, and may end inside a character.</param>
    /// <param name="output">Where the result goes.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">The payload has no result.</exception>
    abstract Push: input: ReadOnlySpan<byte> * output: IBufferWriter<byte> -> unit

    /// <summary>Says that the payload has ended, and appends the rest of the result.</summary>
    /// <exception cref="T:FsScheduler.Stages.StageException">The payload has no result.</exception>
    abstract Finish: output: IBufferWriter<byte> -> unit
