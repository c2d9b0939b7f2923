namespace FsScheduler.Simulation.Tests

open System
open System.Collections.Generic
open System.Threading
open FsScheduler.Core

/// Where loops of `task { }` run in one thread: what they may go on with behind an await is planned here. Between two awaits
/// nothing else happens, as between two locks of real threads.
[<AbstractClass>]
type SimContext() =
    inherit SynchronizationContext()
    let thread = Environment.CurrentManagedThreadId
    let mutable astray: string | null = null

    /// Has something happen later.
    abstract Plan: action: (unit -> unit) -> unit

    /// Does something in this context: what it awaits comes back here.
    member context.Within(action: unit -> 'result) : 'result =
        let before = SynchronizationContext.Current
        SynchronizationContext.SetSynchronizationContext context

        try
            action ()
        finally
            SynchronizationContext.SetSynchronizationContext before

    /// What another thread has posted is not the seed's doing.
    member _.Check() =
        match astray with
        | null -> ()
        | stack -> raise (Violation $"a continuation has left the simulation's thread: {stack}")

    override context.Post(callback, state) =
        if Environment.CurrentManagedThreadId = thread then
            context.Plan(fun () -> context.Within(fun () -> callback.Invoke state))
        else
            astray <- Environment.StackTrace

    override _.Send(_, _) = raise (NotSupportedException())
    override context.CreateCopy() = context

/// <summary>Has what may go on wait until it is told to, in an order that chance picks.</summary>
/// <param name="chance">Picks.</param>
[<Sealed>]
type SimRunner(chance: Chance) =
    inherit SimContext()
    let ready = List<unit -> unit>()

    /// Nothing may go on.
    member _.IsIdle = ready.Count = 0

    /// One of what may go on does; nothing happens where there is none.
    member runner.RunOne() =
        runner.Check()

        if ready.Count > 0 then
            let index = chance.Below ready.Count
            let action = ready[index]
            ready.RemoveAt index
            action ()

    override _.Plan action = ready.Add action

/// <summary>Has what may go on do so some time later, on a timeline.</summary>
/// <param name="scene">Has the timeline.</param>
/// <param name="latest">How much later, at the most.</param>
[<Sealed>]
type TimelineRunner(scene: SimulationContext, latest: Duration) =
    inherit SimContext()

    override _.Plan action =
        scene.timeline.After(scene.chance.Time(0L<ms>, latest), action)
