namespace FsScheduler.Protocol

open FsScheduler.Core

/// Phases of tasks as people and the protocol call them.
module PhaseName =

    /// The name of a phase.
    let print (phase: Phase) : string =
        (JsonNames.phases |> Array.find (fun word -> word.Meaning = phase)).Text

    /// All names.
    let all: string list = [ for word in JsonNames.phases -> word.Text ]

    /// The phase of a name; None: there is no such phase.
    let tryParse (name: string) : Phase option =
        JsonNames.phases
        |> Array.tryFind (fun word -> word.Text = name)
        |> Option.map _.Meaning
