namespace FsScheduler.Simulation.Tests.Crashes

open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Runtime
open FsScheduler.Simulation.Tests

/// <summary>The mailbox of a simulated host: takes a chance number of messages in each turn.</summary>
/// <param name="turns">The machine's.</param>
/// <param name="chance">Tells how many.</param>
/// <param name="posted">Told of each input.</param>
/// <param name="looked">Told of each answer to a look.</param>
/// <param name="decided">Called after each turn, before what was decided is durable.</param>
[<Sealed>]
type SimMailbox
    (
        turns: Turns,
        chance: Chance,
        posted: Input -> unit,
        looked: objnull -> unit,
        decided: unit -> unit
    ) =
    let messages = Channel.CreateUnbounded<Message>()

    /// Whether nothing waits here.
    member _.IsEmpty = messages.Reader.Count = 0

    /// The loop of `SchedulerAgent`, for ever.
    member _.RunAsync() : Task =
        task {
            turns.Begin()
            turns.Take Resume
            do! turns.EndAsync()
            let mutable next = Unchecked.defaultof<Message>

            while true do
                let! first = messages.Reader.ReadAsync()
                turns.Begin()
                turns.Take first
                let mutable left = chance.Below 8

                while not turns.IsFull && left > 0 && messages.Reader.TryRead(&next) do
                    turns.Take next
                    left <- left - 1

                decided ()
                do! turns.EndAsync()
        }

    interface IMailbox with
        member _.PostAsync(inputs, _) =
            Array.iter posted inputs
            messages.Writer.TryWrite(Inputs inputs) |> ignore
            Task.CompletedTask

        member _.LookAsync(look: Scheduler -> 'answer, _: CancellationToken) =
            let answer =
                TaskCompletionSource<'answer>(TaskCreationOptions.RunContinuationsAsynchronously)

            messages.Writer.TryWrite(
                Look(
                    Glance(fun scheduler ->
                        let seen = look scheduler
                        looked (box seen)
                        fun () -> answer.TrySetResult seen |> ignore)
                )
            )
            |> ignore

            answer.Task
