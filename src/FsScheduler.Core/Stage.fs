namespace FsScheduler.Core

/// What a stage may be run on.
type StageKind =
    /// Each line by itself: pieces of a file, cut at line ends, give the pieces of its result.
    | PerLine
    /// Needs the payload from its first byte on.
    | WholeFile
    /// Runs on pieces; the results of the pieces are merged.
    | Aggregating

/// A step of a pipeline, as parsed: its argument has been checked if the stage is built in.
type Stage = {
    name: string
    /// Empty when there is none.
    argument: string
    kind: StageKind
}
