namespace FsScheduler.Server

/// When what was written is flushed to the device.
[<RequireQualifiedAccess>]
type Sync =
    /// Never: survives a process that is killed, not a machine that loses power.
    | Off
    /// The journal always, results only where they could not be computed again.
    | Normal
    /// The journal always, and results before they count as published.
    | Full
