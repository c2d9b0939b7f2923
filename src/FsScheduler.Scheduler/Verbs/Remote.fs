namespace FsScheduler.Scheduler

open System
open System.Diagnostics
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

/// What all verbs share that ask a running scheduler.
module Remote =

    /// `--connect`, or what stands for it.
    let addressOf (given: string option) =
        let address = defaultArg given "127.0.0.1:7070"

        match SchedulerAddress.parse address with
        | Ok _ -> address
        | Error message -> raise (WrongArguments $"--connect: {message}")

    /// What `--connect`, `--token-file` and `--json` say of themselves.
    let connectUsage = "where the scheduler listens (default: 127.0.0.1:7070)"
    let tokenFileUsage = "a file with a line 'client TOKEN'"
    let jsonUsage = "for programs: a JSON object a line"

    let private options =
        JsonSerializerOptions(Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping)

    /// An object for programs, on one line, in UTF-8 with no more escapes than JSON needs.
    let json (value: 'value) : string =
        JsonSerializer.Serialize<'value>(value, options)

    /// A task by its number, as people write it.
    let taskOf (text: string) : TaskId =
        match Int64.TryParse text with
        | true, id when id > 0L && id <= ProtocolLimits.integerMax -> id * 1L<taskId>
        | _ ->
            raise (
                WrongArguments
                    $"'{text}' is not the number of a task; 'fs-scheduler tasks' lists them"
            )

    /// Says what is wrong, on stderr.
    let complain (verb: string) (message: string) =
        eprintfn $"fs-scheduler {verb}: {Terminal.printable message}"

    /// <summary>Connects, and does something with the connection.</summary>
    /// <param name="address">`--connect`.</param>
    /// <param name="tokenFile">`--token-file`.</param>
    /// <param name="work">Returns the exit code.</param>
    /// <exception cref="T:FsScheduler.Protocol.Unreachable">There is no scheduler, or it refuses.</exception>
    /// <exception cref="T:System.OperationCanceledException">By Ctrl+C.</exception>
    let run
        (address: string option)
        (tokenFile: string option)
        (work: SchedulerClient -> CancellationToken -> Task<int>)
        : int =
        let address = addressOf address
        let token = tokenFile |> Option.map (CommandLine.tokenFor "client" "--token-file")

        use interruption = new Interruption()

        let connected =
            task {
                use! client =
                    SchedulerClient.ConnectAsync(
                        address,
                        token,
                        Path.GetTempPath(),
                        interruption.Token
                    )

                return! work client interruption.Token
            }

        connected.GetAwaiter().GetResult()

    let private retryEvery = TimeSpan.FromMilliseconds 500.0

    /// How long a scheduler may be away under a verb that follows it.
    let private awayMax = TimeSpan.FromMinutes 5.0

    /// Waits before there is more to say, and not for nobody.
    let pause (span: TimeSpan) (ct: CancellationToken) : Task =
        task {
            if StandardStreams.hasNoReader () then
                raise OutputClosed

            do! Task.Delay(span, ct)
        }

    /// <summary>As `run`, for what goes on for ever: a scheduler that was there and is gone is waited for, five minutes, and
    /// gone on with.</summary>
    /// <param name="verb">Says on stderr that it waits.</param>
    /// <param name="address">`--connect`.</param>
    /// <param name="tokenFile">`--token-file`.</param>
    /// <param name="work">Called with each new connection. Returns the exit code.</param>
    /// <exception cref="T:FsScheduler.Protocol.Unreachable">There was none from the start, or it stays away.</exception>
    /// <exception cref="T:System.OperationCanceledException">By Ctrl+C.</exception>
    let follow
        (verb: string)
        (address: string option)
        (tokenFile: string option)
        (work: SchedulerClient -> CancellationToken -> Task<int>)
        : int =
        let away: Stopwatch voption ref = ref ValueNone
        let wasThere = ref false
        let mutable code = ValueNone

        let again (client: SchedulerClient) (ct: CancellationToken) =
            wasThere.Value <- true
            away.Value <- ValueNone
            work client ct

        while code.IsNone do
            try
                code <- ValueSome(run address tokenFile again)
            with Unreachable reason when wasThere.Value ->
                match away.Value with
                | ValueNone ->
                    complain verb $"{reason}; waiting for the scheduler to come back"
                    away.Value <- ValueSome(Stopwatch.StartNew())
                | ValueSome since when since.Elapsed > awayMax -> raise (Unreachable reason)
                | ValueSome _ -> ()

                use interruption = new Interruption()
                (pause retryEvery interruption.Token).GetAwaiter().GetResult()

        code.Value

    /// How long an answer may take to begin, and be silent within.
    let private patience = 30_000L<ms>

    /// The next message that is wanted.
    let private next (client: SchedulerClient) (ct: CancellationToken) =
        task {
            try
                match! client.ReceiveWithinAsync(patience, ct) with
                | Some arrival -> return arrival
                | None -> return raise (Unreachable "the scheduler has closed the connection")
            with :? TimeoutException ->
                return
                    raise (
                        Unreachable
                            $"the scheduler does not answer within {patience / 1_000L} s; its disk may be full, or it is stopped"
                    )
        }

    /// Asks one thing that has an answer of its own: the answer, or what is wrong.
    let ask (client: SchedulerClient) (question: ToScheduler) (ct: CancellationToken) =
        task {
            client.Post question |> ignore
            let! arrival = next client ct

            match arrival.message with
            | FromScheduler.Error(_, message) -> return Error message
            | _ -> return Ok arrival
        }

    /// Says of something large that it finds no room here.
    let unstored (what: string) (trouble: string) =
        $"{what} cannot be stored in '{Path.GetTempPath()}': {trouble}; TMPDIR names another folder for it"

    /// <summary>The bytes of an answer, wherever they are.</summary>
    /// <exception cref="T:System.IO.IOException">They could not be stored here.</exception>
    let bytesOf (arrival: IncomingMessage<FromScheduler>) =
        match arrival.failure with
        | null -> ()
        | trouble -> raise (IOException(unstored "the answer" trouble))

        match arrival.payload with
        | Bytes bytes -> bytes
        | Spooled(path, _) ->
            try
                File.ReadAllBytes path
            finally
                SpoolFile.delete path
        | Packed
        | Journaled
        | Recorded _
        | Input _
        | Slice _ -> [||]

    /// The lines of an answer.
    let linesOf (arrival: IncomingMessage<FromScheduler>) : string[] =
        (Encoding.UTF8.GetString(bytesOf arrival))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)

    /// What came is no answer to what was asked.
    let somethingElse () : 'never =
        raise (Unreachable "the scheduler answers something else")

    let status (client: SchedulerClient) (ct: CancellationToken) =
        task {
            match! ask client ToScheduler.Status ct with
            | Ok { message = FromScheduler.Status report } -> return report
            | Ok _
            | Error _ -> return somethingElse ()
        }

    /// <summary>A page of tasks.</summary>
    /// <returns>A line each, the task that the next page is after, and whether there may be one; or what is wrong.</returns>
    let page (client: SchedulerClient) (query: TaskQuery) (ct: CancellationToken) =
        task {
            match! ask client (ToScheduler.List query) ct with
            | Ok({ message = FromScheduler.List(last, more) } as arrival) ->
                return Ok(struct (linesOf arrival, last, more))
            | Ok _ -> return somethingElse ()
            | Error message -> return Error message
        }

    /// <summary>Says things that have no answer when they work, and finds out which did not: STATUS comes after whatever was
    /// wrong.</summary>
    /// <returns>What was wrong.</returns>
    let say (client: SchedulerClient) (messages: ToScheduler list) (ct: CancellationToken) =
        task {
            for message in messages do
                client.Post message |> ignore

            client.Post ToScheduler.Status |> ignore
            let errors = ResizeArray<string>()
            let mutable goOn = true

            while goOn do
                let! arrival = next client ct

                match arrival.message with
                | FromScheduler.Error(_, message) -> errors.Add message
                | FromScheduler.Status report ->
                    match report.trouble with
                    | Some trouble ->
                        errors.Add $"it is not known yet whether that was done: {trouble}"
                    | None -> ()

                    goOn <- false
                | _ -> ()

            return List.ofSeq errors
        }
