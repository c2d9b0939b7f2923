namespace FsScheduler.Server

/// When written files are flushed to the device.
[<RequireQualifiedAccess>]
type Sync =
    /// Never: files survive a killed process, not a power cut.
    | Off
    /// The journal always, results only where they could not be computed again.
    | Normal
    /// The journal always, and results before they count as published.
    | Full
