namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Threading.Tasks

/// What a program reads on its standard input.
type ProgramInput =
    /// What is written to `ProgramProcess.Input`.
    | InputPiped
    /// A file, from its start.
    | InputFile of path: string
    /// Nothing: it is at its end.
    | InputEmpty

/// A program to be started. No shell reads any of this.
type ProgramStart = {
    /// The absolute path of what runs.
    path: string
    /// What it is told that it is called.
    name: string
    arguments: string[]
    /// All of its environment, `NAME=VALUE`.
    environment: string[]
    /// Where it runs.
    folder: string
    input: ProgramInput
    /// Whether somebody reads what it gives; else it is thrown away.
    isOutputWanted: bool
}

/// How a program ended.
type ProgramEnd =
    | Exited of code: int
    /// By this signal.
    | Signalled of signal: int

module ProgramEnd =

    /// For people, after the name of the program.
    let describe ending =
        match ending with
        | Exited code -> $"ended with exit code {code}"
        | Signalled 9 -> "was killed (signal 9)"
        | Signalled signal -> $"was ended by signal {signal}"

/// <summary>A running program, with its end of three pipes. Disposed, it is gone, and so is what it has started and
/// left behind.</summary>
[<AbstractClass>]
type ProgramProcess() =

    /// Its standard input, if that is piped: to be closed by who writes.
    abstract Input: Stream

    /// Its standard output, if that is wanted.
    abstract Output: Stream

    /// Its standard error.
    abstract Errors: Stream

    /// Its end. What it has started may live on, and write to its output.
    abstract Completion: Task<ProgramEnd>

    /// Kills it, and all that it has started. May be called by any thread, at any time, and again.
    abstract Kill: unit -> unit

    abstract Dispose: unit -> unit

    interface IDisposable with
        member program.Dispose() = program.Dispose()

/// How programs are started on this system.
type IProgramStarter =
    /// <exception cref="T:System.IO.IOException">It could not be started; the message says why.</exception>
    abstract Start: ProgramStart -> ProgramProcess
