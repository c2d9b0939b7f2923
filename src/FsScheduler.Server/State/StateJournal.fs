namespace FsScheduler.Server

open System
open System.IO
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Folders

/// The journal of a scheduler.
module StateJournal =

    /// The name of the file in the state folder.
    let name = "journal.db"

    let pathIn (folder: string) = Path.Combine(folder, name)

    /// How long is waited before a disk that took nothing is asked again.
    /// A Unix time in milliseconds as a moment of a clock; before its making, it is negative.
    let private toInstant (clock: Clock) =
        let start = clock.DateOf(Instant.zero).ToUnixTimeMilliseconds()
        fun (at: int64) -> { sinceStart = (at - start) * 1L<ms> }

    /// Takes from others what they may do with a file of the journal.
    let restrict (file: string) = Rights.close file |> ignore

    /// <summary>A journal over a store.</summary>
    /// <param name="store">From now on the journal's.</param>
    /// <param name="owner">Who writes from now on.</param>
    /// <param name="folder">The folder of the scheduler's own files.</param>
    /// <param name="outage">Told while the disk takes nothing.</param>
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
                mark = ResultMark.ofPayload
                heldUp = fun reason -> outage.Begin(place, reason)
                goesOn = fun () -> outage.End place
                betweenTries = StorageOutage.BetweenTries
            }
        )

    /// <summary>Does what belongs to opening a journal; while the disk is full, that waits.</summary>
    let rec private whilePassing (outage: StorageOutage) place (action: unit -> 'T) : 'T =
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
            whilePassing outage place action

    /// <summary>Opens the journal of a state folder, new or old.</summary>
    /// <param name="folder">The state folder, which is held.</param>
    /// <param name="sync">Whether it is flushed.</param>
    /// <param name="acceptLoss">Goes on from what is there when its end is lost.</param>
    /// <param name="outage">Told while the disk takes nothing.</param>
    /// <param name="clock">The time of events.</param>
    /// <param name="log">For what an operator should know.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">It is damaged, or of another version.</exception>
    /// <exception cref="T:System.IO.IOException">It cannot be opened. A disk that is full is waited for.</exception>
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
                held =
                    function
                    | Some reason -> outage.Begin(reader, reason)
                    | None -> outage.End reader
        }

        try
            let store = whilePassing outage place (fun () -> new SqliteStore(options))
            over store (Guid.NewGuid()) folder outage clock
        with StoreError(_, message) ->
            raise (IOException message)
