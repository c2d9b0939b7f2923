namespace FsScheduler.Conformance

open System

type CheckOutcome =
    | Passed
    | Failed of expected: string * seen: string
    /// The check does not apply to this worker, for a reason.
    | NotApplicable of reason: string

/// Fails a check: the worker does what it should not.
exception Unfit of expected: string * seen: string

/// Skips a check of something that this worker does not do, and need not.
exception Inapplicable of reason: string

/// The command of the worker cannot be started.
exception Unstartable of message: string

type Command = { program: string; arguments: string list }

module Command =

    /// <summary>The arguments with the address: in place of <c>{connect}</c>, <c>{host}</c> and <c>{port}</c>; if none
    /// of these is there, as the last argument.</summary>
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

/// What all checks of one run share.
type Examination = {
    command: Command
    /// The stage to ask for, as `name` or `name:argument`. None: one that the worker offers.
    stage: string option
    /// The longest wait for each expected message.
    patience: TimeSpan
}
