namespace FsScheduler.Simulation.Tests

open System
open System.Collections.Generic
open System.Threading

/// <summary>Runs loops of `task { }` in one thread: what may go on waits here, and chance picks what does. Between two awaits
/// nothing else happens, as between two locks of real threads.</summary>
/// <param name="chance">Picks.</param>
[<Sealed>]
type SimRunner(chance: Chance) =
    inherit SynchronizationContext()
    let thread = Environment.CurrentManagedThreadId
    let ready = List<struct (SendOrPostCallback * obj | null)>()
    let mutable astray: string | null = null

    /// Nothing may go on.
    member _.IsIdle = ready.Count = 0

    /// Does something in this context: what it awaits comes back here.
    member runner.Within(action: unit -> 'result) : 'result =
        let before = SynchronizationContext.Current
        SynchronizationContext.SetSynchronizationContext runner

        try
            action ()
        finally
            SynchronizationContext.SetSynchronizationContext before

    /// One of what may go on does; nothing happens where there is none.
    member runner.RunOne() =
        match astray with
        | null -> ()
        | stack -> raise (Violation $"a continuation has left the simulation's thread: {stack}")

        if ready.Count > 0 then
            let index = chance.Below ready.Count
            let struct (callback, state) = ready[index]
            ready.RemoveAt index
            runner.Within(fun () -> callback.Invoke state)

    override _.Post(callback, state) =
        if Environment.CurrentManagedThreadId = thread then
            ready.Add(struct (callback, state))
        else
            astray <- Environment.StackTrace

    override _.Send(_, _) = raise (NotSupportedException())
    override runner.CreateCopy() = runner
