namespace FsScheduler.Protocol

open FsScheduler.Core

/// The names of the phases of tasks, in the protocol and for people.
module PhaseName =

    /// The name of a phase: `quarantined`.
    let print (phase: Phase) : string =
        (JsonNames.phases |> Array.find (fun word -> word.Meaning = phase)).Text

    /// The names of all phases.
    let all: string list = [ for word in JsonNames.phases -> word.Text ]

    /// The phase of a name; none: no phase has this name.
    let tryParse (name: string) : Phase option =
        JsonNames.phases
        |> Array.tryFind (fun word -> word.Text = name)
        |> Option.map _.Meaning
