namespace FsScheduler.Server

open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol

/// What all connections of a scheduler share.
type ConnectionContext = {
    rules: AccessRules
    beat: Duration
    lostAfter: Duration
    agent: SchedulerAgent
    payloads: IPayloadSource<FromScheduler, OutgoingPayload>
    /// None: payloads are always sent as bytes.
    sharing: SharedFileTransfer voption
    /// A path for a payload too large for memory; null if nobody wants it.
    spool: ToScheduler -> Task<string | null>
    /// Whether the payload at a path has to outlive the scheduler.
    isKept: string -> bool
    /// Answers questions: the message and its payload.
    answer: ToScheduler -> Task<struct (FromScheduler * KeptContent)>
    /// Lasts while the disk takes no data.
    outage: StorageOutage
    /// Told of a SUBMIT whose payload found no free space: the folder, and the error.
    noRoom: string -> string -> unit
    /// Whether workers get no new tasks, even if they ask.
    isDraining: unit -> bool
    places: ConnectionSlots
    clock: Clock
    log: ILogger
}
