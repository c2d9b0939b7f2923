namespace FsScheduler.Scheduler

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Argu
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Cli

/// The scheduler ends the conversation over something that would be wrong again.
exception Refusal of message: string

/// How one of the files ended.
type private Ending =
    | Stored of TaskId * path: string
    | TakenOver of TaskId
    | Failed of TaskId option * error: string

/// `submit`: files in, results out. Every file has a key, so that a scheduler that is started again in between loses
/// nothing, and runs nothing twice. Exit code 1: something was refused, or failed.
module SubmitVerb =

    /// Not all of a thousand files are open at once.
    let private pendingMax = 64

    let private retryEvery = TimeSpan.FromMilliseconds 500.0
    let private retriesMax = 60

    let private tellJson (sending: Sending) ending =
        let task, result, error: TaskId option * (string | null) * (string | null) =
            match ending with
            | Stored(id, path) -> Some id, path, null
            | TakenOver id -> Some id, null, null
            | Failed(id, error) -> id, null, error

        printfn
            "%s"
            (Remote.json {|
                file = sending.file
                task = Option.toNullable (Option.map int64 task)
                result = result
                error = error
            |})

    /// A file that was sent and has not ended.
    [<NoComparison; NoEquality>]
    type private OnItsWay = {
        sending: Sending
        started: DateTimeOffset
        /// Its number, once it is accepted.
        mutable task: TaskId option
        mutable isCancelled: bool
    }

    /// Told how it goes.
    type private Told =
        abstract Accepted: Sending * TaskId -> unit

        abstract Ended:
            count: int *
            Sending *
            Ending *
            started: DateTimeOffset *
            received: Size *
            isCancelled: bool ->
                unit

        abstract Halted: HaltRule * left: int * onTheirWay: int -> unit

    let private sentence (sending: Sending) ending =
        match ending with
        | Stored _ when sending.file = "-" -> None // its result is the output
        | Stored(id, path) -> Some $"{sending.file}: done by task {id}, {path}"
        | TakenOver id -> Some $"{sending.file}: accepted as task {id}"
        | Failed(Some id, error) -> Some $"{sending.file}: task {id} failed: {error}"
        | Failed(None, error) -> Some $"{sending.file}: refused: {error}"
        |> Option.map Terminal.printable

    /// <summary>What there is to send, what is on its way, and what has ended.</summary>
    /// <param name="sendings">All.</param>
    /// <param name="isWaiting">A file has ended with its result; else when it is accepted.</param>
    /// <param name="halt">When to stop early.</param>
    /// <param name="store">Puts a result into its place, and says where that is.</param>
    /// <param name="tell">Told of each that is accepted or has ended, once.</param>
    type private Progress
        (
            sendings: Sending list,
            isWaiting: bool,
            halt: HaltRule option,
            store: Sending -> Payload -> string,
            tell: Told
        ) =
        let total = sendings.Length
        let toSend = Queue sendings
        let pending = Dictionary<string, OnItsWay>()
        let mutable failed = 0
        let mutable halted: HaltRule option = None
        // With a rule no more are on their way than workers have slots, so that there is something left to stop.
        let mutable window = if halt.IsSome then 1 else pendingMax

        let isCancelled () =
            match halted with
            | Some rule -> rule.whenever = HaltWhen.Now
            | None -> false

        member _.IsOver = toSend.Count = 0 && pending.Count = 0

        /// Whether it took nothing new, when it was last heard of.
        member val IsBusy = false with get, set
        member val Ended = 0 with get, set

        /// Files that were not sent any more.
        member val Left = 0 with get, set
        member _.Failed = failed

        /// The rule that was met.
        member _.Halted = halted

        member private progress.End(sending: Sending, ending: Ending, received: Size) =
            let started =
                match pending.TryGetValue sending.message.ref with
                | true, onItsWay -> onItsWay.started
                | _ -> DateTimeOffset.UtcNow

            pending.Remove sending.message.ref |> ignore
            let isCancelled = isCancelled () && ending.IsFailed
            progress.Ended <- progress.Ended + 1
            failed <- failed + (if ending.IsFailed then 1 else 0)
            tell.Ended(progress.Ended, sending, ending, started, received, isCancelled)

            match halt with
            | Some rule when
                halted.IsNone
                && HaltRule.isMet total (progress.Ended - failed) failed rule
                && not progress.IsOver
                ->
                halted <- Some rule
                progress.Left <- toSend.Count
                toSend.Clear()
                tell.Halted(rule, progress.Left, pending.Count)
            | _ -> ()

        member private progress.Post(client: SchedulerClient, sending: Sending) =
            let most = client.Welcome.maxPayload
            let trouble = Sending.troubleWith sending

            if trouble.IsSome then
                progress.End(sending, Failed(None, trouble.Value), 0L<B>)
            elif sending.size > most then
                progress.End(
                    sending,
                    Failed(
                        None,
                        $"it has {sending.size} bytes, and the scheduler takes {most} at the most; its --max-payload says how many"
                    ),
                    0L<B>
                )
            else
                let payload =
                    if sending.size = 0L<B> then
                        Payload.empty
                    else
                        Spooled(sending.path, sending.size)

                client.Post(ToScheduler.Submit sending.message, payload) |> ignore

        /// Cancels what is on its way, as far as its number is known yet.
        member private _.CancelKnown(client: SchedulerClient) =
            if isCancelled () then
                for onItsWay in pending.Values do
                    match onItsWay.task with
                    | Some task when not onItsWay.isCancelled ->
                        onItsWay.isCancelled <- true
                        client.Post(ToScheduler.Cancel task) |> ignore
                    | _ -> ()

        /// Says again on a new connection what an old one may have lost.
        member progress.PostAgain(client: SchedulerClient) =
            if halt.IsSome then
                client.Post ToScheduler.Status |> ignore

            for onItsWay in List.ofSeq pending.Values do
                onItsWay.isCancelled <- false
                progress.Post(client, onItsWay.sending)

        member progress.PostMore(client: SchedulerClient) =
            while toSend.Count > 0 && pending.Count < window do
                let sending = toSend.Dequeue()

                pending[sending.message.ref] <- {
                    sending = sending
                    started = DateTimeOffset.UtcNow
                    task = None
                    isCancelled = false
                }

                progress.Post(client, sending)

            progress.CancelKnown client

        /// Some: why it has to be said again later.
        member progress.Take(arrival: IncomingMessage<FromScheduler>) : string option =
            match arrival.message with
            | FromScheduler.Accepted(ref, id) when pending.ContainsKey ref ->
                let onItsWay = pending[ref]
                onItsWay.task <- Some id

                if isWaiting then
                    tell.Accepted(onItsWay.sending, id)
                else
                    progress.End(onItsWay.sending, TakenOver id, 0L<B>)

                None
            | FromScheduler.Done ended when pending.ContainsKey ended.ref ->
                let sending = pending[ended.ref].sending

                let ending =
                    match ended.error, arrival.failure with
                    | Some error, _ -> Failed(Some ended.task, error)
                    | None, null ->
                        try
                            Stored(ended.task, store sending arrival.payload)
                        with
                        | :? IOException
                        | :? UnauthorizedAccessException as error ->
                            Failed(Some ended.task, $"its result cannot be stored: {error.Message}")
                    | None, trouble ->
                        Failed(Some ended.task, $"its result cannot be stored: {trouble}")

                progress.End(sending, ending, Payload.size arrival.payload)
                None
            | FromScheduler.Status report when halt.IsSome ->
                window <- report.workers |> Array.sumBy _.slots |> max 1 |> min pendingMax
                None
            | FromScheduler.Rejected(_, RejectionCode.Busy, message) ->
                progress.IsBusy <- true
                Some message
            | FromScheduler.Rejected(ref, _, message) when pending.ContainsKey ref ->
                progress.End(pending[ref].sending, Failed(None, message), 0L<B>)
                None
            | FromScheduler.Error(_, message) ->
                // What is to be cancelled may have ended meanwhile.
                if isCancelled () then None else raise (Refusal message)
            | _ -> None

    /// One connection, as long as it lasts. Some: why it has to be gone on with on another one.
    let private session (client: SchedulerClient) (progress: Progress) (ct: CancellationToken) =
        task {
            progress.PostAgain client
            let mutable trouble = None

            while trouble.IsNone && not progress.IsOver do
                progress.PostMore client

                if not progress.IsOver then
                    let! arrival = client.ReceiveAsync ct

                    trouble <-
                        match arrival with
                        | Some arrival -> progress.Take arrival
                        | None -> Some "the connection is lost"

            return trouble
        }

    /// <summary>Connects as often as it takes. A scheduler that was there and is gone is waited for, half a minute without
    /// any progress; one that is busy, for as long as it is: keys make it safe to say everything again.</summary>
    let private deliver
        (connect: unit -> Task<SchedulerClient>)
        (progress: Progress)
        (meter: Meter)
        (ct: CancellationToken)
        =
        task {
            let mutable wasThere = false
            let mutable retries = 0
            let mutable ended = 0
            let mutable told = ""

            while not progress.IsOver do
                let mutable trouble = None

                progress.IsBusy <- false

                try
                    use! client = connect ()
                    wasThere <- true
                    let! ending = session client progress ct
                    trouble <- ending
                with Unreachable message when wasThere ->
                    trouble <- Some message

                if progress.Ended > ended || progress.IsBusy then
                    retries <- 0

                match trouble with
                | Some trouble ->
                    retries <- retries + 1

                    if retries > retriesMax then
                        raise (Unreachable trouble)

                    if trouble <> told || progress.Ended > ended then
                        meter.Around(fun () ->
                            eprintfn $"waiting for the scheduler: {Terminal.printable trouble}")

                        told <- trouble
                        ended <- progress.Ended

                    do! Task.Delay(retryEvery, ct)
                | None -> ()
        }

    let private haltOf (arguments: ParseResults<SubmitArguments>) =
        match arguments.TryGetResult SubmitArguments.Halt with
        | None -> None
        | Some text ->
            match HaltRule.parse text with
            | Ok rule -> rule
            | Error message -> raise (WrongArguments $"--halt: {message}")

    let private codeOf (progress: Progress) =
        match progress.Halted with
        | Some { why = HaltWhy.Success } -> ExitCode.ok
        | Some _ when progress.Left > 0 -> ExitCode.quarantined
        | _ ->
            if progress.Failed > 0 then
                ExitCode.quarantined
            else
                ExitCode.ok

    /// Says how it goes: results on standard output, unless that is the result of `-`; the rest on standard error.
    let private telling
        (arguments: ParseResults<SubmitArguments>)
        (meter: Meter)
        (log: JobLog option)
        : Told =
        let isJson = arguments.Contains SubmitArguments.Json
        let isQuiet = arguments.Contains SubmitArguments.Quiet

        let isPiped = arguments.GetResult(SubmitArguments.Files, []) |> List.contains "-"

        let out (line: string) =
            if isPiped then eprintfn "%s" line else printfn "%s" line

        {
            new Told with
                member _.Accepted(sending, task) =
                    if arguments.Contains SubmitArguments.Verbose then
                        meter.Around(fun () ->
                            eprintfn
                                "%s: accepted as task %d"
                                (Terminal.printable sending.file)
                                task)

                member _.Ended(count, sending, ending, started, received, isCancelled) =
                    meter.Around(fun () ->
                        if isJson then
                            tellJson sending ending
                        else
                            match sentence sending ending with
                            | Some line when ending.IsFailed -> eprintfn "%s" line
                            | Some line when not isQuiet -> out line
                            | _ -> ())

                    meter.Show count

                    match log with
                    | Some log ->
                        log.Add {
                            number = int sending.message.ref + 1
                            file = sending.file
                            started = started
                            took = DateTimeOffset.UtcNow - started
                            sent = sending.size
                            received = received
                            isFailed = ending.IsFailed
                            isCancelled = isCancelled
                        }
                    | None -> ()

                member _.Halted(rule, left, onTheirWay) =
                    let what =
                        match rule.whenever with
                        | HaltWhen.Soon -> "waited for"
                        | HaltWhen.Now -> "cancelled"

                    meter.Around(fun () ->
                        eprintfn
                            $"fs-scheduler submit: stopping by --halt: {left} are not sent, {onTheirWay} are {what}")
        }

    /// Whether there is one result, and it goes to standard output.
    let private isForOutput (arguments: ParseResults<SubmitArguments>) =
        arguments.TryGetResult SubmitArguments.Files = Some [ "-" ]
        && not (arguments.Contains SubmitArguments.No_Wait)

    let run (arguments: ParseResults<SubmitArguments>) : int =
        let folder =
            match arguments.GetResult(SubmitArguments.Out, ".") with
            | "" -> "."
            | folder -> folder

        let isWaiting = not (arguments.Contains SubmitArguments.No_Wait)
        let halt = haltOf arguments
        let address = Remote.addressOf (arguments.TryGetResult SubmitArguments.Connect)

        let token =
            arguments.TryGetResult SubmitArguments.Token_File
            |> Option.map (CommandLine.tokenFor "client" "--token-file")

        let results = ResultFolder(folder, DateTime.UtcNow)
        let temporary = Directory.CreateTempSubdirectory("fs-submit-").FullName
        use interruption = new Interruption()
        // Not disposed: who looks for a reader may be about to cancel it.
        let ending = CancellationTokenSource.CreateLinkedTokenSource interruption.Token
        let ct = ending.Token

        // Its one result has nowhere to go any more: also while standard input, which may never end, is read.
        use _ =
            StandardStreams.onNoReader (isForOutput arguments) (fun () -> ending.Cancel())

        // Large results are renamed from where they arrive.
        let spoolFolder =
            match arguments.TryGetResult SubmitArguments.Files with
            | Some files when isWaiting && files <> [ "-" ] -> folder
            | _ -> temporary

        let connect () =
            SchedulerClient.ConnectAsync(address, token, spoolFolder, ct)

        let work () =
            task {
                if File.Exists spoolFolder then
                    raise (WrongArguments $"--out: '{folder}' is a file, and no folder")

                // Before anything is run whose result could not be kept.
                Directory.CreateDirectory spoolFolder |> ignore
                let probe = Path.Combine(spoolFolder, $".fss-{Environment.ProcessId}.tmp")
                File.WriteAllBytes(probe, [||])
                File.Delete probe

                // Reading standard input, or a pipe, may take for ever; Ctrl+C does not.
                let! sendings = Task.Run(fun () -> Sending.all arguments temporary).WaitAsync ct

                let log =
                    arguments.TryGetResult SubmitArguments.Joblog
                    |> Option.map (fun path ->
                        if
                            sendings
                            |> List.exists (fun sending -> JobLog.IsOver(path, sending.path))
                        then
                            raise (
                                WrongArguments
                                    $"--joblog: '{path}' is one of the files, and would be written over"
                            )

                        new JobLog(path, address))

                use _ = log |> Option.map (fun log -> log :> IDisposable) |> Option.toObj

                use meter =
                    new Meter(
                        sendings.Length,
                        not (arguments.Contains SubmitArguments.Quiet),
                        arguments.Contains SubmitArguments.Eta
                    )

                if sendings.IsEmpty then
                    eprintfn "fs-scheduler submit: there is no file to send"

                meter.Show 0

                let progress =
                    Progress(
                        sendings,
                        isWaiting,
                        halt,
                        Sending.store folder results,
                        telling arguments meter log
                    )

                do! deliver connect progress meter ct
                return codeOf progress
            }

        try
            try
                work().GetAwaiter().GetResult()
            with :? OperationCanceledException when not interruption.Token.IsCancellationRequested ->
                raise OutputClosed
        finally
            Directory.Delete(temporary, true)
