namespace FsScheduler.Execution.Exec

open System
open System.Collections.Concurrent
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// Hears of programs that come and go, so that they can be killed when this process is.
type internal IProgramWitness =
    abstract Started: group: int -> unit
    /// Said before anybody else can have its number.
    abstract Ended: group: int -> unit

/// A child of ours, from its start until its number is free again.
[<Sealed>]
type internal Child(pid: int, witness: IProgramWitness) =
    let completion =
        TaskCompletionSource<ProgramEnd>(TaskCreationOptions.RunContinuationsAsynchronously)

    let gate = obj ()
    let mutable isEnded = false
    let mutable isReleased = false
    let mutable isReaped = false

    let reap () =
        if isEnded && isReleased && not isReaped then
            isReaped <- true
            witness.Ended pid
            Posix.reap pid

    member _.Completion = completion.Task

    /// Whether its end is known.
    member _.IsEnded = Volatile.Read &isEnded

    /// Looks whether it has ended, and says whether it is done with altogether.
    member _.Look() =
        lock gate (fun () ->
            if not isEnded then
                match Posix.tryEnding pid with
                | ValueSome ending ->
                    isEnded <- true
                    completion.SetResult ending
                | ValueNone -> ()

            reap ()
            isReaped)

    member _.Kill() =
        lock gate (fun () ->
            // Until it is reaped nobody else has the number.
            if not isReaped then
                Posix.killGroup pid)

    /// Nobody needs it any more.
    member child.Release() =
        lock gate (fun () ->
            if not isReaped then
                Posix.killGroup pid
                isReleased <- true)

        child.Look()

/// <summary>Our children, told of their end: by a descriptor of each, or, where the kernel has none (before Linux 5.3), by
/// SIGCHLD.</summary>
/// <remarks>The runtime has a handler of SIGCHLD of its own. As process 1, which has to take in whatever has lost its parent,
/// it would take the ends of our children as well, before we know them. There this thread does both, and the runtime gets
/// no SIGCHLD: a program that code in this process starts by `System.Diagnostics.Process` is not seen to end
/// then.</remarks>
[<AbstractClass; Sealed>]
type internal Children private () =
    static let all = ConcurrentDictionary<int, Child>()
    static let isFirst = Environment.ProcessId = 1
    static let orphansEvery = 1_000

    static let look () =
        for KeyValue(pid, child) in all do
            if child.Look() then
                all.TryRemove pid |> ignore

    // Our own, each with its descriptor; new ones come over the queue.
    static let coming = ConcurrentQueue<struct (Child * int)>()

    static let wake =
        match Linux.Wake.create () with
        | Ok fd -> fd
        | Error _ -> -1

    static let rec reapOrphans left =
        match Posix.tryAnyEnding () with
        | ValueSome pid when not (all.ContainsKey pid) && left > 0 ->
            Posix.reap pid
            reapOrphans (left - 1)
        | _ -> ()

    static let watch () =
        let watched = ResizeArray<struct (Child * int)>()

        while true do
            let mutable one = Unchecked.defaultof<struct (Child * int)>

            while coming.TryDequeue &one do
                watched.Add one

            let fds = [|
                wake
                for struct (_, fd) in watched do
                    fd
            |]

            Linux.waitForAny fds (if isFirst then orphansEvery else -1)
            Linux.Wake.clear wake

            for index in watched.Count - 1 .. -1 .. 0 do
                let struct (child, fd) = watched[index]
                child.Look() |> ignore

                if child.IsEnded then
                    Linux.close fd
                    watched.RemoveAt index

            if isFirst then
                reapOrphans 1_000

    static let thread =
        lazy
            (if isFirst then
                 Signals.leaveChildrenAlone ()

             Thread(watch, 256 * 1024, IsBackground = true, Name = "children").Start())

    // Kept for the life of the process: a child may end at any time.
    static let registration =
        lazy (PosixSignalRegistration.Create(PosixSignal.SIGCHLD, fun _ -> look ()))

    static let hasDescriptors = lazy (wake >= 0 && Posix.hasChildDescriptors ())

    /// To be called before each child is started.
    static member Prepare() =
        if hasDescriptors.Value then
            thread.Force()

            // Something in this process may have made the runtime take it back.
            if isFirst then
                Signals.leaveChildrenAlone ()
        else
            registration.Force() |> ignore

    static member Add(pid: int, child: Child) =
        all[pid] <- child

        if hasDescriptors.Value then
            match Posix.tryDescriptorOf pid with
            | ValueSome fd ->
                coming.Enqueue(struct (child, fd))
                Linux.Wake.signal wake
            | ValueNone ->
                // No descriptor is left: the signal does it.
                registration.Force() |> ignore

        // It may have ended before it was known here.
        child.Look() |> ignore

    static member Release(pid: int, child: Child) =
        if child.Release() then
            all.TryRemove pid |> ignore
        elif hasDescriptors.Value then
            // Killed a moment ago, it ends soon: whoever watches it lets go of it then.
            child.Completion.ContinueWith(fun (_: Task<ProgramEnd>) ->
                if child.Look() then
                    all.TryRemove pid |> ignore)
            |> ignore
