namespace FsScheduler.Execution.Exec

open System
open System.Collections.Concurrent
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// Is told of programs that start and end, to kill them if this process is killed.
type internal IProgramObserver =
    abstract Started: group: int -> unit
    /// Called before the process id can be reused.
    abstract Ended: group: int -> unit

/// A child process, from its start until its id is free again.
[<Sealed>]
type internal Child(pid: int, observer: IProgramObserver) =
    let completion =
        TaskCompletionSource<ProgramEnd>(TaskCreationOptions.RunContinuationsAsynchronously)

    let syncRoot = obj ()
    let mutable isEnded = false
    let mutable isReleased = false
    let mutable isReaped = false

    let reap () =
        if isEnded && isReleased && not isReaped then
            isReaped <- true
            observer.Ended pid
            Posix.reap pid

    member _.Completion = completion.Task

    /// Whether the child has ended.
    member _.IsEnded = Volatile.Read &isEnded

    /// Checks whether the child has ended. True: the child is reaped.
    member _.Check() =
        lock syncRoot (fun () ->
            if not isEnded then
                match Posix.tryEnding pid with
                | ValueSome ending ->
                    isEnded <- true
                    completion.SetResult ending
                | ValueNone -> ()

            reap ()
            isReaped)

    member _.Kill() =
        lock syncRoot (fun () ->
            // Until the child is reaped its id is not reused.
            if not isReaped then
                Posix.killGroup pid)

    /// Kills the child's group, and has it reaped once it has ended.
    member child.Release() =
        lock syncRoot (fun () ->
            if not isReaped then
                Posix.killGroup pid
                isReleased <- true)

        child.Check()

/// <summary>Waits for children to end: by a descriptor of each, or before Linux 5.3, which has none, by
/// SIGCHLD.</summary>
/// <remarks>The runtime has its own handler of SIGCHLD. As process 1, which adopts orphans, the runtime would reap our
/// children before we know how they ended. In this case our thread reaps both, and the runtime gets no SIGCHLD: it does
/// not notice the end of programs started by `System.Diagnostics.Process`.</remarks>
[<AbstractClass; Sealed>]
type internal Children private () =
    static let all = ConcurrentDictionary<int, Child>()
    static let isFirst = Environment.ProcessId = 1
    static let orphansEvery = 1_000

    static let checkAll () =
        for KeyValue(pid, child) in all do
            if child.Check() then
                all.TryRemove pid |> ignore

    // Children to be watched, each with its descriptor: from any thread to the watching one.
    static let added = ConcurrentQueue<struct (Child * int)>()

    static let wake =
        match Wakeup.create () with
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

            while added.TryDequeue &one do
                watched.Add one

            let fds = [|
                wake
                for struct (_, fd) in watched do
                    fd
            |]

            Wakeup.waitForAny fds (if isFirst then orphansEvery else -1)
            Wakeup.clear wake

            for index in watched.Count - 1 .. -1 .. 0 do
                let struct (child, fd) = watched[index]
                child.Check() |> ignore

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

    // Lives as long as the process, since a child may end at any time.
    static let registration =
        lazy (PosixSignalRegistration.Create(PosixSignal.SIGCHLD, fun _ -> checkAll ()))

    static let hasDescriptors = lazy (wake >= 0 && Posix.hasChildDescriptors ())

    /// To be called before each child is started.
    static member Prepare() =
        if hasDescriptors.Value then
            thread.Force()

            // Other code in this process may have made the runtime install its handler again.
            if isFirst then
                Signals.leaveChildrenAlone ()
        else
            registration.Force() |> ignore

    static member Add(pid: int, child: Child) =
        all[pid] <- child

        if hasDescriptors.Value then
            match Posix.tryDescriptorOf pid with
            | ValueSome fd ->
                added.Enqueue(struct (child, fd))
                Wakeup.signal wake
            | ValueNone ->
                // No descriptor is left: use the signal.
                registration.Force() |> ignore

        // The child may have ended before it was registered.
        child.Check() |> ignore

    static member Release(pid: int, child: Child) =
        if child.Release() then
            all.TryRemove pid |> ignore
        elif hasDescriptors.Value then
            // The child was just killed: it ends soon, and is reaped then.
            child.Completion.ContinueWith(fun (_: Task<ProgramEnd>) ->
                if child.Check() then
                    all.TryRemove pid |> ignore)
            |> ignore
