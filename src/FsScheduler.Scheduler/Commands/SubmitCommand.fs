namespace FsScheduler.Scheduler

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Argu
open FsScheduler.Platform
open FsScheduler.Cli
open FsScheduler.Sdk

/// `submit`: submits files, and writes their results. Every file has a key, so that a restart of the scheduler loses no
/// file, and runs none twice. Exit code 1: a file was refused, or failed.
module SubmitCommand =

    /// The longest wait for a scheduler that has gone.
    let private reconnectMax = TimeSpan.FromSeconds 30.0

    let private haltOf (arguments: ParseResults<SubmitArguments>) =
        match arguments.TryGetResult SubmitArguments.Halt with
        | None -> None
        | Some text ->
            match HaltRule.parse text with
            | Ok rule -> rule
            | Error message -> raise (WrongArguments $"--halt: {message}")

    let private codeOf (run: UploadRun) =
        match run.Halted with
        | Some { outcome = HaltOutcome.Success } -> ExitCode.ok
        | Some _ when run.Left > 0 -> ExitCode.quarantined
        | _ -> if run.Failed > 0 then ExitCode.quarantined else ExitCode.ok

    /// Whether there is one result, which goes to standard output.
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

        let address =
            ClientCommand.addressOf (arguments.TryGetResult SubmitArguments.Connect)

        let token =
            ClientCommand.tokenOf (arguments.TryGetResult SubmitArguments.Token_File)

        let results = ResultFolder(folder, DateTime.UtcNow)
        let temporary = Directory.CreateTempSubdirectory("fs-submit-").FullName
        use interruption = new Interruption()
        // Not disposed: the check for a reader may be about to cancel it.
        let ending = CancellationTokenSource.CreateLinkedTokenSource interruption.Token
        let ct = ending.Token

        // Ends without a reader of the one result, also while standard input is read, which may never end.
        use _ =
            StandardStreams.onNoReader (isForOutput arguments) (fun () -> ending.Cancel())

        // Large results arrive beside their targets, and are renamed.
        let spoolFolder =
            match arguments.TryGetResult SubmitArguments.Files with
            | Some files when isWaiting && files <> [ "-" ] -> folder
            | _ -> temporary

        let optionsOf (run: UploadRun) =
            SchedulerClientOptions(
                Address = address,
                Token = Option.toObj token,
                ReconnectTimeout = reconnectMax,
                TemporaryFolder = spoolFolder,
                MaxPending = UploadRun.WindowMax,
                OnNotice = (fun notice -> run.Notify notice)
            )

        let work () =
            task {
                if File.Exists spoolFolder then
                    raise (WrongArguments $"--out: '{folder}' is a file; name a folder")

                // Before any task runs: its result could not be stored.
                Directory.CreateDirectory spoolFolder |> ignore
                let probe = Path.Combine(spoolFolder, $".fss-{Environment.ProcessId}.tmp")
                File.WriteAllBytes(probe, [||])
                File.Delete probe

                // Standard input, or a pipe, may never end; Ctrl+C ends the wait.
                let! uploads = Task.Run(fun () -> Upload.all arguments temporary).WaitAsync ct

                let log =
                    arguments.TryGetResult SubmitArguments.Joblog
                    |> Option.map (fun path ->
                        if
                            uploads |> List.exists (fun upload -> JobLog.IsOver(path, upload.path))
                        then
                            raise (
                                WrongArguments
                                    $"--joblog: '{path}' is one of the files, and would be overwritten; name another file"
                            )

                        new JobLog(path, address))

                use _ = log |> Option.map (fun log -> log :> IDisposable) |> Option.toObj

                use progress =
                    new ProgressLine(
                        uploads.Length,
                        not (arguments.Contains SubmitArguments.Quiet),
                        arguments.Contains SubmitArguments.Eta
                    )

                if uploads.IsEmpty then
                    eprintfn "fs-scheduler submit: there is no file to send"

                progress.Show 0

                let run =
                    UploadRun(
                        uploads,
                        isWaiting,
                        halt,
                        Upload.store folder results,
                        SubmitReport.make arguments progress log
                    )

                try
                    if not uploads.IsEmpty then
                        use! client = ClientCommand.connect (optionsOf run) ct
                        do! run.RunAsync(client, ct)
                finally
                    run.DiscardResults()

                return codeOf run
            }

        try
            try
                work().GetAwaiter().GetResult()
            with :? OperationCanceledException when not interruption.Token.IsCancellationRequested ->
                raise OutputClosed
        finally
            Directory.Delete(temporary, true)
