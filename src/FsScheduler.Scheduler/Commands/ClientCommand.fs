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

/// An argument that a scheduler would refuse, whenever it is asked.
exception Refusal of message: string

/// What the commands share that ask a running scheduler: arguments, the connection, messages.
module ClientCommand =

    /// The address of `--connect`; without that option, port 7070 of this machine.
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

    /// What `--help` says of `--connect`, `--token-file` and `--json`.
    let connectUsage = "the address of the scheduler (default: 127.0.0.1:7070)"
    let tokenFileUsage = "a file with a line 'client TOKEN'"
    let jsonUsage = "for programs: one JSON object per line"

    let private jsonOptions =
        JsonSerializerOptions(Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping)

    /// Prints an object for programs: one line of JSON in UTF-8, with no more escapes than JSON needs.
    let printJson (value: 'value) : unit =
        Console.Out.WriteLine(JsonSerializer.Serialize<'value>(value, jsonOptions))

    /// The number of a task, from its text.
    let taskIdOf (text: string) : int64 =
        match Int64.TryParse text with
        | true, id when id > 0L && id <= ProtocolLimits.integerMax -> id
        | _ ->
            raise (
                WrongArguments
                    $"'{text}' is not the number of a task; 'fs-scheduler tasks' lists them"
            )

    /// Prints an error of a command to standard error, on one line.
    let printError (command: string) (message: string) =
        eprintfn $"fs-scheduler {command}: {Terminal.printable message}"

    /// <summary>Connects, and does not try again.</summary>
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

    /// The longest wait for the beginning of an answer, and the longest pause within one.
    let private answerTimeout = TimeSpan.FromSeconds 30.0

    /// How long `follow` waits for a scheduler that has gone.
    let private reconnectMax = TimeSpan.FromMinutes 5.0

    let private optionsOf address tokenFile reconnectTimeout (onNotice: SchedulerNotice -> unit) =
        SchedulerClientOptions(
            Address = addressOf address,
            Token = Option.toObj (tokenOf tokenFile),
            // An answer has the time of a reconnection: a silent connection is replaced meanwhile.
            AnswerTimeout = max answerTimeout reconnectTimeout,
            ReconnectTimeout = reconnectTimeout,
            TemporaryFolder = Path.GetTempPath(),
            OnNotice = onNotice
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

    /// <summary>Connects, and does some work over the connection. A lost connection is an error.</summary>
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

    /// Waits before the next line of output. Throws `OutputClosed` when the reader of standard output has gone.
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

        let options = optionsOf address tokenFile reconnectMax onNotice
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
        followWith (Option.iter (printError command))

    /// The answer to a request, or the error that the scheduler answers.
    let tryAnswer (request: Task<'answer>) : Task<Result<'answer, string>> =
        task {
            try
                let! answer = request
                return Ok answer
            with :? RequestRefusedException as refused ->
                return Error refused.Message
        }

    /// The message for an answer that this machine has no room for.
    let notStored (error: AnswerNotStoredException) =
        $"{error.What} cannot be stored in '{Path.GetTempPath()}': {error.Reason}; TMPDIR names another folder for it"

    /// The errors of commands; empty: the commands are carried out.
    let errorsOf (result: CommandResult) : string list = [
        yield! result.Errors

        match result.Trouble with
        | null -> ()
        | failure -> $"it is not known yet whether that was done: {failure}"
    ]
