/// Parts of a scheduler, for tests of one part.
module FsScheduler.Server.Tests.ServerSupport

open System
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Server
open FsScheduler.Folders
open FsScheduler.Journal.Tests.JournalSupport

/// The journal of a scheduler whose own files are in a folder.
let openOver (store: MemoryStore) (folder: string) =
    StateJournal.over
        store
        (Guid.NewGuid())
        folder
        (StorageOutage NullLogger.Instance)
        (Clock TimeProvider.System)
    |> started

/// For a publisher whose names have no other owners.
let rememberNothing (_: ResultOwner) : Task = Task.CompletedTask

/// Publishes what it is given, and logs nothing.
let publishQueue (entrada: string) (publisher: ResultStore) onDone sync flush =
    let log = NullLogger.Instance
    let clock = Clock TimeProvider.System

    ResultPublisher(
        Inputs(InputFolder entrada, onDone),
        publisher,
        Spool(),
        ResultOwners(publisher, (fun _ -> false), []),
        onDone,
        sync,
        flush,
        clock,
        StorageOutage log,
        ActivityLog(clock, log),
        log
    )
