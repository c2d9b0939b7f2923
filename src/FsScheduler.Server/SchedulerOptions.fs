namespace FsScheduler.Server

open System.Net
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// What a scheduler works with.
type SchedulerOptions = {
    /// Port 0 takes a free one.
    listen: IPEndPoint
    entrada: string
    /// What in it is left alone.
    ignored: IgnoreRules
    resultados: string
    state: StateFolder
    /// When results are flushed.
    sync: Sync
    settings: Settings
    /// Pipelines of files by their names; the first that fits counts.
    routes: Route list
    rules: AccessRules
    beat: Duration
    /// How long a file must have been unchanged before it is taken.
    settle: Duration
    onDone: OnDone
    /// Whether files that were done before are done again.
    again: bool
    /// Whether workers that see the same files are told where payloads and results are.
    sharesFiles: bool
    /// Opens the journal, once there is a port; what it has of earlier runs is gone on with. From then on the server's.
    openJournal: unit -> Journal
    retention: Retention
    outage: StorageOutage
    clock: Clock
    log: ILogger
}
