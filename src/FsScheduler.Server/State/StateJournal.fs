namespace FsScheduler.Server

open System
open System.IO
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Folders

/// Opens the journal of a scheduler.
module StateJournal =

    /// The name of the journal in the state folder.
    let name = "journal.db"

    let pathIn (folder: string) = Path.Combine(folder, name)

    /// A Unix time in milliseconds as an instant of a clock; negative before the clock was made.
    let private toInstant (clock: Clock) =
        let start = clock.DateOf(Instant.zero).ToUnixTimeMilliseconds()
        fun (at: int64) -> { sinceStart = (at - start) * 1L<ms> }

    /// Takes all rights to a file of the journal from other users.
    let restrict (file: string) = Rights.close file |> ignore

    /// <summary>A journal over a store.</summary>
    /// <param name="store">Owned by the journal from now on.</param>
    /// <param name="owner">Identifies this run as the writer.</param>
    /// <param name="folder">The state folder.</param>
    /// <param name="outage">Lasts while the disk takes no data.</param>
    /// <param name="clock">The time of events.</param>
    let over
        (store: IJournalStore)
        (owner: Guid)
        (folder: string)
        (outage: StorageOutage)
        (clock: Clock)
        =
        let place = $"the journal {pathIn folder}"

        new Journal(
            store,
            {
                spool = Path.Combine(folder, "spool")
                owner = owner
                toUnix = fun at -> clock.DateOf(at).ToUnixTimeMilliseconds()
                toInstant = toInstant clock
                mark = ResultMark.ofContent
                storageFailed = fun reason -> outage.Begin(place, reason)
                storageRecovered = fun () -> outage.End place
                betweenTries = StorageOutage.BetweenTries
            }
        )

    /// <summary>Runs a step of opening the journal, again and again while the disk is full.</summary>
    let rec private retryOpening (outage: StorageOutage) place (action: unit -> 'T) : 'T =
        let outcome =
            try
                Ok(action ())
            with StoreError(true, message) ->
                Error message

        match outcome with
        | Ok value ->
            outage.End place
            value
        | Error message ->
            outage.Begin(place, message)
            Threading.Thread.Sleep StorageOutage.BetweenTries
            retryOpening outage place action

    /// <summary>Opens the journal of a state folder, new or old.</summary>
    /// <param name="folder">The locked state folder.</param>
    /// <param name="sync">When events are flushed.</param>
    /// <param name="acceptLoss">Whether to go on with what is left when the end of the journal is lost.</param>
    /// <param name="outage">Lasts while the disk takes no data.</param>
    /// <param name="clock">The time of events.</param>
    /// <param name="log">Warns the operator.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The journal is damaged, or of another version.</exception>
    /// <exception cref="T:System.IO.IOException">The journal cannot be opened. A full disk is waited for.</exception>
    let openIn
        (folder: string)
        (sync: Sync)
        (acceptLoss: bool)
        (outage: StorageOutage)
        (clock: Clock)
        (log: ILogger)
        : Journal =
        let path = pathIn folder
        let place = $"the journal {path}"
        let reader = $"the log of {path}"

        let options = {
            SqliteStoreOptions.defaults path with
                flush = sync <> Sync.Off
                acceptLoss = acceptLoss
                restrict = restrict
                log = fun sentence -> log.LogWarning("{Sentence}", sentence)
                checkpointBlocked =
                    function
                    | Some reason -> outage.Begin(reader, reason)
                    | None -> outage.End reader
        }

        try
            let store = retryOpening outage place (fun () -> new SqliteStore(options))
            over store (Guid.NewGuid()) folder outage clock
        with StoreError(_, message) ->
            raise (IOException message)
