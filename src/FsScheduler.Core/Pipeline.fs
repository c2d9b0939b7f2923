namespace FsScheduler.Core

open System.Collections.Generic

/// Stages that are run one after the other, at least one.
type Pipeline = {
    stages: Stage[]
    /// The stages as they stand in a PROCESS message: `name` or `name:argument`, unquoted.
    wire: string[]
}

/// Why a text is not a pipeline: where, what, and what was probably meant.
type PipelineError = {
    /// Characters into the text, from 0.
    position: int
    message: string
}

module Pipeline =

    /// Reads a pipeline such as `lower | grep:erro | words`.
    let parse (offered: IReadOnlySet<string>) (text: string) : Result<Pipeline, PipelineError> =
        Error { position = 0; message = "" }
