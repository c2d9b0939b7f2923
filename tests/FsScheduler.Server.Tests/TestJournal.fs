/// A journal over a store in memory, and what it tells of its disk.
module FsScheduler.Server.Tests.TestJournal

open System
open System.Text
open System.Threading
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Folders
open FsScheduler.TestKit
open FsScheduler.Journal.Tests.JournalSupport

/// What a journal tells of its disk.
type Told() =
    let heldUp = Collector<string>()
    let mutable goesOn = 0
    member _.HeldUp = heldUp
    member _.GoesOn = Volatile.Read &goesOn

    member _.Options: JournalOptions = {
        spool = "/spool"
        owner = Guid.NewGuid()
        toUnix = fun at -> int64 at.sinceStart
        toInstant = fun at -> { sinceStart = at * 1L<ms> }
        mark = ResultMark.ofContent
        storageFailed = heldUp.Add
        storageRecovered = fun () -> Interlocked.Increment &goesOn |> ignore
        betweenTries = TimeSpan.FromMilliseconds 1.0
    }

let openTelling (told: Told) (store: MemoryStore) =
    started (new Journal(store, told.Options))

let openAs store = openTelling (Told()) store
let port (journal: Journal) = journal :> IJournal
let drop journal before = ended ((port journal).DropAsync before)

let payload journal number =
    Encoding.UTF8.GetString((port journal).ReadPayload number)

let key: Key = { text = "k"; content = "c" }

/// The numbers of its events.
let recovered (journal: Journal) = [ for struct (number, _, _) in journal.Recover() -> number ]
