namespace FsScheduler.Scheduler

open System
open System.IO
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Cli
open FsScheduler.Sdk

/// The scheduler would refuse something again and again.
exception Refusal of message: string

/// What the commands share that ask a running scheduler: arguments, the connection, messages.
module ClientCommand =

    /// `--connect`, or what stands for it.
    let addressOf (given: string option) =
        let address = defaultArg given "127.0.0.1:7070"

        match SchedulerAddress.parse address with
        | Ok _ -> address
        | Error message -> raise (WrongArguments $"--connect: {message}")

    let private bounded (what: string) (bytesMax: int) (text: string) =
        if Encoding.UTF8.GetByteCount text > bytesMax then
            raise (Refusal $"{what} has at most {bytesMax} bytes")

        text

    /// The token in the file of `--token-file`.
    let tokenOf (file: string option) =
        file
        |> Option.map (
            CommandLine.tokenFor "client" "--token-file"
            >> bounded "a token" ProtocolLimits.tokenBytesMax
        )

    /// The stages of `--pipeline`.
    let pipelineOf (text: string) =
        bounded "a pipeline" ProtocolLimits.pipelineBytesMax text

    /// The name or session of a worker.
    let workerOf (text: string) =
        bounded "the name of a worker" ProtocolLimits.peerNameBytesMax text

    /// What `--connect`, `--token-file` and `--json` say of themselves.
    let connectUsage = "where the scheduler listens (default: 127.0.0.1:7070)"
    let tokenFileUsage = "a file with a line 'client TOKEN'"
    let jsonUsage = "for programs: a JSON object a line"

    let private jsonOptions =
        JsonSerializerOptions(Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping)

    /// An object for programs, on one line, in UTF-8 with no more escapes than JSON needs.
    let json (value: 'value) : string =
        JsonSerializer.Serialize<'value>(value, jsonOptions)

    /// The number of a task, as people write it.
    let taskOf (text: string) : int64 =
        match Int64.TryParse text with
        | true, id when id > 0L && id <= ProtocolLimits.integerMax -> id
        | _ ->
            raise (
                WrongArguments
                    $"'{text}' is not the number of a task; 'fs-scheduler tasks' lists them"
            )

    /// Says what is wrong, on stderr.
    let complain (command: string) (message: string) =
        eprintfn $"fs-scheduler {command}: {Terminal.printable message}"

    /// <summary>Connects once.</summary>
    /// <param name="options">Where the scheduler is.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="T:FsScheduler.Sdk.SchedulerException">There is no scheduler, or it refuses; the message says what to do
    /// on a command line.</exception>
    let connect (options: SchedulerClientOptions) (ct: CancellationToken) : Task<SchedulerClient> =
        task {
            try
                return! SchedulerClient.ConnectAsync(options, ct)
            with :? SchedulerUnavailableException as away when not (isNull away.InnerException) ->
                return
                    raise (
                        SchedulerUnavailableException(
                            $"{away.Message}; start one, or name another with --connect",
                            away
                        )
                    )
        }

    /// How long an answer may take to begin, and be silent within.
    let private answerTimeout = TimeSpan.FromSeconds 30.0

    /// How long a scheduler may be away under a command that follows it.
    let private awayMax = TimeSpan.FromMinutes 5.0

    let private optionsOf address tokenFile reconnectTimeout (hear: SchedulerNotice -> unit) =
        SchedulerClientOptions(
            Address = addressOf address,
            Token = Option.toObj (tokenOf tokenFile),
            // Where a lost connection is waited for, so is an answer: after silence the connection is made anew.
            AnswerTimeout = max answerTimeout reconnectTimeout,
            ReconnectTimeout = reconnectTimeout,
            TemporaryFolder = Path.GetTempPath(),
            OnNotice = hear
        )

    let private runWith
        (options: SchedulerClientOptions)
        (work: SchedulerClient -> CancellationToken -> Task<int>)
        (ct: CancellationToken)
        : int =
        let connected =
            task {
                use! client = connect options ct
                return! work client ct
            }

        connected.GetAwaiter().GetResult()

    /// <summary>Connects, and does something with the connection, which must not be lost meanwhile.</summary>
    /// <param name="address">`--connect`.</param>
    /// <param name="tokenFile">`--token-file`.</param>
    /// <param name="work">Returns the exit code.</param>
    /// <exception cref="T:FsScheduler.Sdk.SchedulerException">There is no scheduler, or it refuses.</exception>
    /// <exception cref="T:System.OperationCanceledException">By Ctrl+C.</exception>
    let run
        (address: string option)
        (tokenFile: string option)
        (work: SchedulerClient -> CancellationToken -> Task<int>)
        : int =
        let options = optionsOf address tokenFile TimeSpan.Zero ignore
        use interruption = new Interruption()
        runWith options work interruption.Token

    /// Waits before there is more to say, and not for nobody.
    let pause (span: TimeSpan) (ct: CancellationToken) : Task =
        task {
            if StandardStreams.hasNoReader () then
                raise OutputClosed

            do! Task.Delay(span, ct)
        }

    /// <summary>As `run`, but waits up to five minutes for a scheduler that has gone, and then goes on with it.</summary>
    /// <param name="onAway">Called when the scheduler has gone, with a sentence that says so, and when it is back, with
    /// None; from one thread at a time.</param>
    /// <param name="address">`--connect`.</param>
    /// <param name="tokenFile">`--token-file`.</param>
    /// <param name="work">Returns the exit code.</param>
    /// <exception cref="T:FsScheduler.Sdk.SchedulerException">There was no scheduler at the start, or it stays away.</exception>
    /// <exception cref="T:System.OperationCanceledException">By Ctrl+C.</exception>
    let followWith
        (onAway: string option -> unit)
        (address: string option)
        (tokenFile: string option)
        (work: SchedulerClient -> CancellationToken -> Task<int>)
        : int =
        let isAway = ref false

        let onNotice (notice: SchedulerNotice) =
            match notice with
            | :? SchedulerNotice.Away when not isAway.Value ->
                isAway.Value <- true
                onAway (Some $"{notice.Message}; waiting for the scheduler to come back")
            | :? SchedulerNotice.Back ->
                isAway.Value <- false
                onAway None
            | _ -> ()

        let options = optionsOf address tokenFile awayMax onNotice
        use interruption = new Interruption()
        // Not disposed: the check for a reader may be about to cancel it.
        let ending = CancellationTokenSource.CreateLinkedTokenSource interruption.Token
        use _ = StandardStreams.onNoReader true (fun () -> ending.Cancel())

        try
            runWith options work ending.Token
        with :? OperationCanceledException when not interruption.Token.IsCancellationRequested ->
            raise OutputClosed

    /// `followWith` for a command that prints lines: its name stands before the sentence on standard error.
    let follow (command: string) =
        followWith (Option.iter (complain command))

    /// The answer to a request, or why the scheduler gives none.
    let answer (asking: Task<'answer>) : Task<Result<'answer, string>> =
        task {
            try
                let! answer = asking
                return Ok answer
            with :? RequestRefusedException as refused ->
                return Error refused.Message
        }

    /// Says of an answer that it finds no room here, and how to make some.
    let unstored (error: AnswerNotStoredException) =
        $"{error.What} cannot be stored in '{Path.GetTempPath()}': {error.Reason}; TMPDIR names another folder for it"

    /// What was wrong with commands.
    let errorsOf (result: CommandResult) : string list = [
        yield! result.Errors

        match result.Trouble with
        | null -> ()
        | trouble -> $"it is not known yet whether that was done: {trouble}"
    ]
