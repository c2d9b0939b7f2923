namespace FsScheduler.Simulation.Tests

open System
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Protocol
open FsScheduler.Server

/// What happens around the turns of a simulated mailbox.
type MailboxHooks = {
    /// Told of each input.
    posted: Input -> unit
    /// Told of each answer to a look.
    looked: objnull -> unit
    /// What is waited for before a turn.
    begun: unit -> Task
    /// How many more messages this turn takes than the first one, at the most.
    most: unit -> int
    /// Has the turn take a message.
    take: Message -> unit
    /// Called after each turn, before what was decided is durable.
    decided: unit -> unit
}

/// <summary>The mailbox of a simulated host: the loop of `SchedulerAgent`, without threads.</summary>
/// <param name="turns">The machine's.</param>
/// <param name="hooks">What happens around them.</param>
[<Sealed>]
type SimMailbox(turns: BatchPipeline, hooks: MailboxHooks) =
    let messages = Channel.CreateUnbounded<Message>()

    /// Whether nothing waits here.
    member _.IsEmpty = messages.Reader.Count = 0

    /// Takes turns, for ever.
    member _.RunAsync() : Task =
        task {
            turns.Begin()
            turns.Take Message.Resume
            do! turns.EndAsync()
            let mutable next = Unchecked.defaultof<Message>

            while true do
                let! first = messages.Reader.ReadAsync()
                do! hooks.begun ()
                turns.Begin()
                hooks.take first
                let mutable left = hooks.most ()

                while not turns.IsFull && left > 0 && messages.Reader.TryRead &next do
                    hooks.take next
                    left <- left - 1

                hooks.decided ()
                do! turns.EndAsync()
        }

    interface IMailbox with
        member _.PostAsync(inputs, _) =
            Array.iter hooks.posted inputs
            messages.Writer.TryWrite(Message.Inputs inputs) |> ignore
            Task.CompletedTask

        member _.QueryAsync(look: Scheduler -> 'answer, _: CancellationToken) =
            let answer =
                TaskCompletionSource<'answer>(TaskCreationOptions.RunContinuationsAsynchronously)

            let glance =
                Query(fun scheduler ->
                    let seen = look scheduler
                    hooks.looked (box seen)
                    fun () -> answer.TrySetResult seen |> ignore)

            messages.Writer.TryWrite(Message.Ask glance) |> ignore
            answer.Task

/// <summary>A connection, of which what is sent is at once with the peer.</summary>
/// <param name="post">Is sent each message.</param>
/// <param name="welcome">Is told what a worker may keep.</param>
/// <param name="dismiss">Asks a worker to go.</param>
/// <param name="close">Ends it.</param>
[<Sealed>]
type SimPeer
    (
        post: SchedulerMessage -> unit,
        welcome: Attempt[] -> unit,
        dismiss: unit -> unit,
        close: unit -> unit
    ) =
    interface IPeer with
        member _.IsTouched
            with get () = true
            and set _ = ()

        member _.Post departure =
            post departure
            true

        member _.Signal() = ()
        member _.Welcome keep = welcome keep
        member _.Dismiss() = dismiss ()
        member _.Close _ = close ()

/// What simulated hosts have in common.
module SimHost =

    /// What a journal is opened with, but for its owner and its disk.
    let journalOptions: JournalOptions = {
        spool = "spool"
        owner = Guid(1, 1s, 1s, Array.zeroCreate 8)
        toUnix = fun at -> int64 at.sinceStart
        toInstant = fun at -> { sinceStart = at * 1L<ms> }
        mark = fun _ -> ResultMark.Unmarked
        storageFailed = ignore
        storageRecovered = ignore
        betweenTries = TimeSpan.FromSeconds 1.0
    }

    /// Puts parts together as `Content` has it.
    let merging =
        Merge(fun _ parts _ output _ _ ->
            let contents =
                parts
                |> Array.map (fun part ->
                    use reader = new StreamReader(part, leaveOpen = true)
                    reader.ReadToEnd())

            output.Write(ReadOnlySpan(Content.toBytes (Content.join true contents)))
            Task.CompletedTask)

    /// What the machine is told went wrong, though nobody has seen to that: what it still waits for was deleted or dropped.
    let checkMissing (scheduler: Scheduler) (input: Input) =
        let check (attempt: Attempt) (error: string) =
            let isFault = error.Contains "I/O error" || error.Contains "disk full"

            if not (isFault || (ResultTarget.ofResult attempt scheduler).IsNowhere) then
                raise (Violation $"what {attempt} needs is not to be had: {error}")

        match input with
        | Input.Unreadable(attempt, error)
        | Input.MergeFailed(attempt, error) -> check attempt error
        | _ -> ()

    /// Maintenance that does nothing with what is not the host's.
    let upkeep started : MaintenanceHooks = {
        started = started
        sweep = fun _ -> Task.CompletedTask
        trim = ignore
    }

    /// <summary>Writes a journal, as its thread does.</summary>
    /// <param name="journal">Not started.</param>
    /// <param name="time">Measures the waits.</param>
    /// <param name="takes">How long the next transaction takes.</param>
    let write (journal: Journal) (time: TimeProvider) (takes: unit -> Duration) : Task =
        let wait (span: Duration) =
            Task.Delay(TimeSpan.FromMilliseconds(float (int64 span)), time)

        task {
            let mutable goOn = true

            while goOn do
                let! more = journal.WaitAsync()
                goOn <- more

                if more then
                    match takes () with
                    | 0L<ms> -> ()
                    | span -> do! wait span

                    if not (journal.Step()) then
                        do! Task.Delay(journalOptions.betweenTries, time)
        }
