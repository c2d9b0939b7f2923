namespace FsScheduler.Execution

open System
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Execution.Exec

/// The options of a worker.
type WorkerOptions = {
    /// The scheduler, as `HOST:PORT`.
    connect: string
    /// Opens a stream to the scheduler, for other transports than TCP. None: a socket to `connect`.
    dial: Func<CancellationToken, Task<Stream>> option
    /// The name for people; need not be unique.
    name: string
    /// The number of tasks held at once, from 1 to 65,536.
    slots: int
    token: string option
    /// The built-in stages to offer.
    builtIn: string list
    /// Stages in code, by name.
    functions: (string * StageFunction) list
    /// Programs that `exec`, `exec-file` and `exec-lines` may run here: names, looked up in PATH when the worker
    /// starts, or absolute paths. A stage names a program exactly as this list does.
    allowExec: string list
    /// Folders that the worker and its scheduler see under the same paths: payloads and results in them need not be
    /// sent if both share files. Nothing is read or written elsewhere.
    sharedFolders: string list
    /// How long held tasks may go on once the worker is asked to stop.
    drain: TimeSpan
    /// How long to look for a scheduler before giving up. None: for ever.
    giveUp: TimeSpan option
    log: ILogger
}

/// How a worker ended.
type WorkerEnd =
    /// The worker was asked to end.
    | Ended
    /// No scheduler was found, or it refused the worker; the reason says what to do.
    | Unserved of reason: string

/// Workers in code: a script with some functions is a worker.
module Worker =

    let private delayMax = TimeSpan.FromSeconds 10.0

    /// All built-in stages, a slot for each processor, the scheduler of this computer, no functions.
    let options: WorkerOptions = {
        connect = "127.0.0.1:7070"
        dial = None
        name = $"{Environment.MachineName}-{Environment.ProcessId}"
        slots = Environment.ProcessorCount
        token = None
        builtIn = [ for stage in Stage.builtIn -> stage.name ]
        functions = []
        allowExec = []
        sharedFolders = []
        drain = TimeSpan.FromSeconds 10.0
        giveUp = None
        log = NullLogger.Instance
    }

    /// Functions that block or compute for long occupy as many threads of the pool as the worker has slots; built-in
    /// stages occupy one for each processor. The pool adds one or two threads a second, and beats that wait for one
    /// would come too late: the worker would seem lost.
    let private leaveThreadsForBeats (options: WorkerOptions) =
        let mutable workers = 0
        let mutable completions = 0
        ThreadPool.GetMinThreads(&workers, &completions)

        let busyMax =
            if options.functions.IsEmpty then
                Environment.ProcessorCount
            else
                512

        let busy = min options.slots busyMax

        ThreadPool.SetMinThreads(max workers (busy + Environment.ProcessorCount), completions)
        |> ignore

    let private openSocket (address: DnsEndPoint) (ct: CancellationToken) : Task<Stream> =
        task {
            let socket = new Socket(SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

            try
                do! socket.ConnectAsync(address, ct)
                return new NetworkStream(socket, ownsSocket = true) :> Stream
            with error ->
                socket.Dispose()
                return raise error
        }

    /// A connected stream, or why there is none. Any exception of a custom `dial` is such a reason.
    let private connect (options: WorkerOptions) (address: DnsEndPoint) (stop: CancellationToken) =
        task {
            try
                use patience = CancellationTokenSource.CreateLinkedTokenSource stop
                patience.CancelAfter(TimeSpan.FromSeconds 10.0)

                let! stream =
                    match options.dial with
                    | Some dial -> dial.Invoke patience.Token
                    | None -> openSocket address patience.Token

                return Ok stream
            with error ->
                return Error error.Message
        }

    /// The stages to be named in HELLO.
    let private offersOf (options: WorkerOptions) =
        options.builtIn
        @ List.map fst options.functions
        @ ExecCommand.offers (List.distinct options.allowExec)
        |> List.distinct

    /// What is wrong with the options, if anything is.
    let private problem (options: WorkerOptions) : string option =
        let bytes (text: string) = Text.Encoding.UTF8.GetByteCount text
        let names = List.map fst options.functions

        let isBuiltIn name =
            Stage.builtIn |> Seq.exists (fun stage -> stage.name = name)

        if options.slots < 1 || options.slots > ProtocolLimits.slotsMax then
            Some $"a worker has 1 to {ProtocolLimits.slotsMax} slots, not {options.slots}"
        elif bytes options.name > ProtocolLimits.peerNameBytesMax then
            Some $"the name of a worker has at most {ProtocolLimits.peerNameBytesMax} bytes"
        elif
            options.token
            |> Option.exists (fun token -> bytes token > ProtocolLimits.tokenBytesMax)
        then
            Some $"a token has at most {ProtocolLimits.tokenBytesMax} bytes"
        elif names |> List.exists (fun name -> List.contains name ProtocolLimits.execNames) then
            let taken = String.Join(", ", ProtocolLimits.execNames)
            Some $"a function cannot have one of the names {taken}: these stages run programs"
        elif
            List.forall ProtocolLimits.isProgram options.allowExec
            && List.forall ProtocolLimits.isStageName names
            && not (ProtocolLimits.areOffers (offersOf options))
        then
            Some
                $"a worker names at most {ProtocolLimits.stagesMax} stages, and these with its programs take more than fits into its HELLO; allow fewer programs"
        else
            match List.tryFind (isBuiltIn >> not) options.builtIn with
            | Some name -> Some $"the stage '{name}' is not built in"
            | None ->
                match
                    List.tryFind (ProtocolLimits.isStageName >> not) names,
                    List.tryFind (fun (_, count) -> count > 1) (List.countBy id names)
                with
                | Some name, _ ->
                    Some $"'{name}' cannot be the name of a stage: use letters, digits, - _ and ."
                | None, Some(name, count) ->
                    Some $"there are {count} functions for the stage '{name}'"
                | None, None -> None

    /// Serves until the worker is asked to stop, or has no folder for files.
    let private serve
        (options: WorkerOptions)
        (address: DnsEndPoint)
        (programs: IReadOnlyDictionary<string, string>)
        (shared: SharedFolders)
        (storage: WorkerStorage)
        (stop: CancellationToken)
        : Task<WorkerEnd> =
        task {
            let clock = Clock TimeProvider.System
            let folder = storage.Folder

            let profile = {
                name = options.name
                slots = options.slots
                token = options.token
                stages = List.toArray (offersOf options)
                functions = Dictionary(dict options.functions)
                sharesFiles = not shared.IsEmpty
                drain = options.drain
                clock = clock
                log = options.log
            }

            let exec =
                if programs.Count = 0 then
                    ValueNone
                else
                    ValueSome(
                        new ExecStages(
                            {
                                programs = programs
                                token = options.token
                                temporary = folder.Root
                                slots = options.slots
                                lines = LineLimits.standard
                                isPortable = false
                                log = options.log
                            }
                        )
                    )

            let heldTasks = HeldTasks()

            let taskRunner =
                new TaskRunner(
                    profile.functions,
                    exec,
                    shared,
                    folder,
                    options.slots,
                    storage.Renew,
                    (storage.Doubt >> ignore),
                    fun assigned result -> heldTasks.Finish(assigned, result)
                )

            let mutable ending = ValueNone
            let mutable failures = 0
            let mutable lostAt = clock.Now
            let mutable lostAfter = 0L<ms>
            let mutable random = uint64 (Random.Shared.NextInt64())

            try
                while ending.IsNone do
                    let! connected = connect options address stop

                    let! outcome =
                        match connected with
                        | Ok stream ->
                            task {
                                let session =
                                    WorkerSession(
                                        stream,
                                        profile,
                                        heldTasks,
                                        taskRunner,
                                        storage.NewFile,
                                        storage.Doubt
                                    )

                                let! outcome = session.RunAsync stop

                                // A peer that accepts connections and closes them does not count as a scheduler.
                                if session.IsWelcome then
                                    failures <- 0
                                    lostAt <- clock.Now
                                    lostAfter <- session.LostAfter

                                return outcome
                            }
                        | Error message -> Task.FromResult(Broken message)

                    match outcome with
                    | Stopped -> ending <- ValueSome Ended
                    | _ when stop.IsCancellationRequested -> ending <- ValueSome Ended
                    | SentAway message ->
                        ending <-
                            ValueSome(
                                Unserved $"the scheduler at {options.connect} says: {message}"
                            )
                    | Broken reason ->
                        failures <- failures + 1
                        let searched = TimeSpan.FromMilliseconds(float (clock.Now - lostAt))

                        match options.giveUp with
                        | Some giveUp when searched >= giveUp ->
                            ending <-
                                ValueSome(
                                    Unserved
                                        $"no scheduler at {options.connect} for {giveUp.TotalSeconds:F0} s: {reason}"
                                )
                        | giveUp ->
                            let struct (state, chance) = Backoff.random random
                            random <- state

                            let delay =
                                [
                                    TimeSpan.FromMilliseconds(float (Backoff.delay failures chance))
                                    delayMax
                                    // Held tasks go to other workers unless this one reconnects in time.
                                    if not heldTasks.IsEmpty then
                                        TimeSpan.FromMilliseconds(float (lostAfter / 3L))
                                    match giveUp with
                                    | Some giveUp -> giveUp - searched
                                    | None -> ()
                                ]
                                |> List.min

                            // A scheduler that restarts is no reason for a warning; one that stays away is.
                            options.log.Log(
                                (if failures = 1 then
                                     LogLevel.Information
                                 else
                                     LogLevel.Warning),
                                "no scheduler at {Address}: {Reason}; next try in {Delay} ms",
                                options.connect,
                                reason,
                                int delay.TotalMilliseconds
                            )

                            try
                                do! Task.Delay(delay, stop)
                            with :? OperationCanceledException ->
                                ending <- ValueSome Ended
            finally
                heldTasks.Clear()

            match exec with
            | ValueSome exec -> do! (exec :> IAsyncDisposable).DisposeAsync()
            | ValueNone -> ()

            do! (taskRunner :> IAsyncDisposable).DisposeAsync()

            match storage.Reason with
            | null -> return ending.Value
            | reason -> return Unserved reason
        }

    /// <summary>Serves until the worker is asked to stop, over any number of connections.</summary>
    /// <param name="options">Start from <c>Worker.options</c>.</param>
    /// <param name="stop">Asks the worker to finish its tasks and end.</param>
    /// <returns>How the worker ended; errors of network and disk do not throw.</returns>
    /// <exception cref="T:System.ArgumentException">An option is out of range, or a shared folder is
    /// missing.</exception>
    let runAsync (options: WorkerOptions) (stop: CancellationToken) : Task<WorkerEnd> =
        task {
            let address =
                match SchedulerAddress.parse options.connect, problem options with
                | Ok address, None -> address
                | Error message, _
                | _, Some message -> raise (ArgumentException message)

            let programs =
                match AllowedProgram.findAll options.allowExec with
                | Ok programs -> programs
                | Error message -> raise (ArgumentException message)

            let shared =
                try
                    SharedFolders options.sharedFolders
                with :? DirectoryNotFoundException as error ->
                    raise (ArgumentException error.Message)

            leaveThreadsForBeats options

            match
                (try
                    Ok(WorkerStorage(WorkerFolder(), options.log))
                 with NoWorkerFolder message ->
                     Error message)
            with
            | Error message -> return Unserved message
            | Ok storage ->
                match storage.Folder.Probe() with
                | null ->
                    use either =
                        CancellationTokenSource.CreateLinkedTokenSource(stop, storage.Leave)

                    try
                        return! serve options address programs shared storage either.Token
                    finally
                        storage.End()
                | reason ->
                    storage.End()

                    return
                        Unserved
                            $"nothing can be stored in '{storage.Folder.Path}': {reason}; make room there, or set TMPDIR to another folder"
        }

    /// Serves until Ctrl+C: the last line of a script that is a worker.
    let run (options: WorkerOptions) : WorkerEnd =
        use interruption = new Interruption()
        (runAsync options interruption.Token).GetAwaiter().GetResult()
