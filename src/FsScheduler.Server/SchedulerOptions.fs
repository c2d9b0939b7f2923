namespace FsScheduler.Server

open System.Net
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// The options of a scheduler.
type SchedulerOptions = {
    /// Port 0 takes a free one.
    listen: IPEndPoint
    entrada: string
    /// Files of the input folder that are left alone.
    ignored: IgnoreRules
    resultados: string
    state: StateFolder
    /// When results are flushed.
    sync: Sync
    settings: Settings
    /// Pipelines of files by their names; the first match counts.
    routes: Route list
    rules: AccessRules
    beat: Duration
    /// How long a file must have been unchanged before it is taken.
    settle: Duration
    onDone: OnDone
    /// Whether finished files are processed again.
    again: bool
    /// Whether workers that see the same files are given paths of payloads and results.
    sharesFiles: bool
    /// Opens the journal of earlier runs, or a new one, once the port is bound. Owned by the server from then on.
    openJournal: unit -> Journal
    retention: Retention
    outage: StorageOutage
    clock: Clock
    log: ILogger
}
