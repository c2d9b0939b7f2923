namespace FsScheduler.Server

open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol

/// What all connections of a scheduler share.
type ConnectionContext = {
    rules: AccessRules
    beat: Duration
    lostAfter: Duration
    agent: SchedulerAgent
    bodies: IPayloadSource<FromScheduler>
    /// None: bytes always travel.
    sharing: SharedFileTransfer voption
    /// A path for a payload that is too large for memory; null where nobody wants it.
    spool: ToScheduler -> Task<string | null>
    /// Whether a payload at this path has to outlive the scheduler.
    isKept: string -> bool
    /// Answers EXPLAIN and EVENTS: the message and its payload.
    answer: ToScheduler -> Task<struct (FromScheduler * Payload)>
    /// Where it is said that the disk takes nothing.
    outage: StorageOutage
    /// Told of a payload of a SUBMIT that found no room on the disk: where, and why.
    noRoom: string -> string -> unit
    /// Whether no worker gets anything new, whatever it says.
    isDraining: unit -> bool
    places: ConnectionSlots
    clock: Clock
    log: ILogger
}
