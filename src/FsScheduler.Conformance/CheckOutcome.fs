namespace FsScheduler.Conformance

open System

type CheckOutcome =
    | Passed
    | Failed of expected: string * seen: string
    /// The check does not apply to this worker, for a reason.
    | NotApplicable of reason: string

/// Fails a check: the worker breaks the protocol.
exception CheckFailed of expected: string * seen: string

/// Skips a check of an optional feature that the worker does not have.
exception CheckNotApplicable of reason: string

[<AutoOpen>]
module internal Failing =
    let failCheck (expected: string) (seen: string) : 'answer = raise (CheckFailed(expected, seen))

/// The command of the worker cannot be started.
exception WorkerNotStarted of message: string

type Command = { program: string; arguments: string list }

module Command =

    /// <summary>The arguments with the address of the scheduler: in place of <c>{connect}</c>, <c>{host}</c> and
    /// <c>{port}</c>, or else as the last argument.</summary>
    let withAddress (host: string) (port: int) (arguments: string list) : string list =
        let names = [ "{connect}", $"{host}:{port}"; "{host}", host; "{port}", string port ]

        let replaced =
            arguments
            |> List.map (fun argument ->
                (argument, names)
                ||> List.fold (fun text (name, value) -> text.Replace(name, value)))

        if replaced = arguments then
            arguments @ [ $"{host}:{port}" ]
        else
            replaced

/// The settings of all checks of a run.
type Examination = {
    command: Command
    /// The stage to ask for, as `name` or `name:argument`. None: one that the worker offers.
    stage: string option
    /// The longest wait for each expected message.
    patience: TimeSpan
}
