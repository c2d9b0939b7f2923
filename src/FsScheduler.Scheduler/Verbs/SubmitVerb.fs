namespace FsScheduler.Scheduler

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Argu
open Spectre.Console
open FsScheduler.Core
open FsScheduler.Runtime

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
            (JsonSerializer.Serialize {|
                file = sending.file
                task = Option.toNullable (Option.map int64 task)
                result = result
                error = error
            |})

    let private sentence (sending: Sending) ending =
        match ending with
        | Stored _ when sending.file = "-" -> None // its result is the output
        | Stored(id, path) -> Some $"{sending.file}: done by task {id}, {path}"
        | TakenOver id -> Some $"{sending.file}: accepted as task {id}"
        | Failed(Some id, error) -> Some $"{sending.file}: task {id} failed: {Logs.printable error}"
        | Failed(None, error) -> Some $"{sending.file}: refused: {Logs.printable error}"

    /// <summary>What there is to send, what is on its way, and what has ended.</summary>
    /// <param name="sendings">All.</param>
    /// <param name="isWaiting">A file has ended with its result; else when it is accepted.</param>
    /// <param name="store">Puts a result into its place, and says where that is.</param>
    /// <param name="tell">Called once for each, with how many have ended.</param>
    type private Progress
        (
            sendings: Sending list,
            isWaiting: bool,
            store: Sending -> Payload -> string,
            tell: int -> Sending -> Ending -> unit
        ) =
        let toSend = Queue sendings
        let pending = Dictionary<string, Sending>()

        member _.IsOver = toSend.Count = 0 && pending.Count = 0
        member val HasFailure = false with get, set

        /// Whether it took nothing new, when it was last heard of.
        member val IsBusy = false with get, set
        member val Ended = 0 with get, set

        member private progress.End(sending: Sending, ending: Ending) =
            pending.Remove sending.message.ref |> ignore
            progress.Ended <- progress.Ended + 1
            progress.HasFailure <- progress.HasFailure || ending.IsFailed
            tell progress.Ended sending ending

        member private progress.Post(client: SchedulerClient, sending: Sending) =
            let most = client.Welcome.maxPayload
            let trouble = Sending.troubleWith sending

            if trouble.IsSome then
                progress.End(sending, Failed(None, trouble.Value))
            elif sending.size > most then
                progress.End(
                    sending,
                    Failed(
                        None,
                        $"it has {sending.size} bytes, and the scheduler takes {most} at the most; its --max-payload says how many"
                    )
                )
            else
                let payload =
                    if sending.size = 0L<B> then
                        Payload.empty
                    else
                        Spooled(sending.path, sending.size)

                client.Post(ToScheduler.Submit sending.message, payload) |> ignore

        /// Says again on a new connection what an old one may have lost.
        member progress.PostAgain(client: SchedulerClient) =
            for sending in List.ofSeq pending.Values do
                progress.Post(client, sending)

        member progress.PostMore(client: SchedulerClient) =
            while toSend.Count > 0 && pending.Count < pendingMax do
                let sending = toSend.Dequeue()
                pending[sending.message.ref] <- sending
                progress.Post(client, sending)

        /// Some: why it has to be said again later.
        member progress.Take(arrival: Arrival<FromScheduler>) : string option =
            match arrival.message with
            | FromScheduler.Accepted(ref, id) when not isWaiting && pending.ContainsKey ref ->
                progress.End(pending[ref], TakenOver id)
                None
            | FromScheduler.Done ended when pending.ContainsKey ended.ref ->
                let sending = pending[ended.ref]

                let ending =
                    match ended.error, arrival.trouble with
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

                progress.End(sending, ending)
                None
            | FromScheduler.Rejected(_, RejectionCode.Busy, message) ->
                progress.IsBusy <- true
                Some message
            | FromScheduler.Rejected(ref, _, message) when pending.ContainsKey ref ->
                progress.End(pending[ref], Failed(None, message))
                None
            | FromScheduler.Error(_, message) -> raise (Refusal message)
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
                        eprintfn $"waiting for the scheduler: {Logs.printable trouble}"
                        told <- trouble
                        ended <- progress.Ended

                    do! Task.Delay(retryEvery, ct)
                | None -> ()
        }

    /// A bar, where somebody looks.
    let private showing (count: int) (work: (int -> unit) -> Task<'T>) : Task<'T> =
        if Console.IsErrorRedirected || count < 2 then
            work ignore
        else
            AnsiConsole
                .Create(AnsiConsoleSettings(Out = AnsiConsoleOutput Console.Error))
                .Progress()
                .AutoClear(true)
                .StartAsync(fun context ->
                    let bar = context.AddTask("files", true, float count)
                    work (fun ended -> bar.Value <- float ended))

    /// Whether there is one result, and it goes to standard output.
    let private isForOutput (arguments: ParseResults<SubmitArguments>) =
        arguments.TryGetResult SubmitArguments.Files = Some [ "-" ]
        && not (arguments.Contains SubmitArguments.No_Wait)

    let run (arguments: ParseResults<SubmitArguments>) : int =
        let folder = arguments.GetResult(SubmitArguments.Out, ".")
        let isWaiting = not (arguments.Contains SubmitArguments.No_Wait)
        let isJson = arguments.Contains SubmitArguments.Json

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
                // Before anything is run whose result could not be kept.
                Directory.CreateDirectory spoolFolder |> ignore
                let probe = Path.Combine(spoolFolder, $".fss-{Environment.ProcessId}.tmp")
                File.WriteAllBytes(probe, [||])
                File.Delete probe

                // Reading standard input, or a pipe, may take for ever; Ctrl+C does not.
                let! sendings = Task.Run(fun () -> Sending.all arguments temporary).WaitAsync ct

                return!
                    showing sendings.Length (fun show ->
                        task {
                            let tell ended sending ending =
                                show ended

                                if isJson then
                                    tellJson sending ending
                                else
                                    sentence sending ending |> Option.iter (eprintfn "%s")

                            let progress =
                                Progress(sendings, isWaiting, Sending.store folder results, tell)

                            do! deliver connect progress ct

                            return
                                if progress.HasFailure then
                                    ExitCode.quarantined
                                else
                                    ExitCode.ok
                        })
            }

        try
            try
                work().GetAwaiter().GetResult()
            with :? OperationCanceledException when not interruption.Token.IsCancellationRequested ->
                raise OutputClosed
        finally
            Directory.Delete(temporary, true)
