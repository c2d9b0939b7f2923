namespace FsScheduler.Conformance

open System

/// How a worker did in one row.
type Verdict =
    | Passed
    | Failed of expected: string * seen: string
    /// It was not checked, and why.
    | NotApplicable of reason: string

/// A row ends with it: the worker does what it should not.
exception Unfit of expected: string * seen: string

/// A row ends with it: it is about something that this worker does not do, and need not.
exception Inapplicable of reason: string

/// The worker cannot be started at all.
exception Unstartable of message: string

/// The command of a worker.
type Command = { program: string; arguments: string list }

module Command =

    /// <summary>The arguments with the address in them: wherever one has <c>{connect}</c>, <c>{host}</c> or
    /// <c>{port}</c>; if none has, as a last one.</summary>
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

/// What all rows of one run share.
type Examination = {
    command: Command
    /// The stage that is asked for, as `name` or `name:argument`. None: one that the worker offers.
    stage: string option
    /// The longest wait for anything that is to come.
    patience: TimeSpan
}
