namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Threading.Tasks

/// The standard input of a program.
type ProgramInput =
    /// Written to `ProgramProcess.Input`.
    | InputPiped
    /// A file, from its start.
    | InputFile of path: string
    /// Empty.
    | InputEmpty

/// How to start a program. No shell is involved.
type ProgramStart = {
    /// The absolute path of the executable.
    path: string
    /// The name of the program, which it gets as its first argument.
    name: string
    arguments: string[]
    /// The whole environment, as `NAME=VALUE`.
    environment: string[]
    /// The working directory.
    folder: string
    input: ProgramInput
    /// Whether standard output is read; otherwise it is discarded.
    isOutputWanted: bool
}

/// How a program ended.
type ProgramEnd =
    | Exited of code: int
    | Signalled of signal: int

module ProgramEnd =

    /// How a program ended, as the end of a sentence that begins with its name.
    let describe ending =
        match ending with
        | Exited code -> $"ended with exit code {code}"
        | Signalled 9 -> "was killed (signal 9)"
        | Signalled signal -> $"was ended by signal {signal}"

/// <summary>A running program, with pipes to its standard streams. Disposing kills it and all it has started.</summary>
[<AbstractClass>]
type ProgramProcess() =

    /// Standard input, if it is piped; the writer closes it.
    abstract Input: Stream

    /// Standard output, if it is wanted.
    abstract Output: Stream

    /// Standard error.
    abstract Errors: Stream

    /// How the program ended. Processes that it started may live on, and write to its output.
    abstract Completion: Task<ProgramEnd>

    /// Kills the program and everything it has started. By any thread, at any time, any number of times.
    abstract Kill: unit -> unit

    abstract Dispose: unit -> unit

    interface IDisposable with
        member program.Dispose() = program.Dispose()

/// Starts programs on this system.
type IProgramStarter =
    /// <exception cref="T:System.IO.IOException">The program cannot be started; the message says why.</exception>
    abstract Start: ProgramStart -> ProgramProcess
