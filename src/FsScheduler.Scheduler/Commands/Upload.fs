namespace FsScheduler.Scheduler

open System
open System.IO
open Argu
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Folders
open FsScheduler.Cli
open FsScheduler.Sdk

/// A file to be submitted.
type Upload = {
    /// The number of the file, from 1.
    number: int
    /// The file as named on the command line, or below a folder that is named there.
    file: string
    /// The name of the task.
    name: string
    /// The name of the result, below the folder of results.
    result: string
    /// The path of the bytes, which is not `file` for standard input and pipes.
    path: string
    /// In bytes.
    size: int64
    /// Why the file cannot be sent.
    failure: string option
    submission: Submission
}

/// The files of a `submit`, and their results.
module Upload =

    let private refuse message = raise (WrongArguments message)

    /// Copies input without a known size into a temporary file.
    let private spool (temporary: string) (name: string) (first: byte[]) (input: Stream) =
        let path = Path.Combine(temporary, name)
        use file = File.Create path
        file.Write(first, 0, first.Length)
        input.CopyTo file
        path, file.Length

    let private openFile (path: string) =
        new FileStream(
            path,
            FileMode.Open,
            FileAccess.Read,
            FileShare.ReadWrite ||| FileShare.Delete
        )

    /// The path and size of the bytes of a file. Standard input, pipes and files of the length 0 are read to their end.
    let private locate (temporary: string) (index: int) (file: string) =
        if file = "-" then
            if StandardStreams.isInputClosed () then
                raise (IOException "standard input is closed")

            use input = Console.OpenStandardInput()
            spool temporary "stdin" [||] input
        else
            use input = openFile file

            if not input.CanSeek then
                spool temporary $"input{index}" [||] input
            elif input.Length > 0L then
                file, input.Length
            else
                match input.ReadByte() with
                | -1 -> file, 0L
                | first -> spool temporary $"input{index}" [| byte first |] input

    /// Why a file cannot be sent as it was found; None: it can.
    let failureOf (upload: Upload) : string option =
        match upload.failure with
        | Some failure -> Some failure
        | None ->
            try
                use input = openFile upload.path

                if input.Length = upload.size then
                    None
                else
                    Some "it changed while it was being sent"
            with
            | :? IOException
            | :? UnauthorizedAccessException as error -> Some $"it cannot be read: {error.Message}"

    /// A file that an argument names, not opened yet.
    [<NoComparison>]
    type private Found = {
        file: string
        name: string
        /// Why the file cannot be sent.
        refusal: string option
    }

    /// The files of a folder and of the folders below, by name. Hidden and unfinished files are left out, as by a
    /// scheduler.
    let private below (argument: string) : Found list =
        let folder = InputFolder argument
        folder.Refresh() |> ignore

        match Scanner.scan folder "" with
        | ValueNone -> [
            {
                file = argument
                name = argument
                refusal = Some "the folder cannot be listed"
            }
          ]
        | ValueSome listing ->
            let at (name: string) =
                if argument = "." then
                    name
                else
                    Path.Combine(argument, name)

            [
                for struct (name, _) in listing.files do
                    let name = TaskName.toString name
                    { file = at name; name = name; refusal = None }

                for struct (name, refusal) in listing.refused do
                    { file = at name; name = name; refusal = Some refusal.Message }

                for struct (name, reason) in listing.unknown do
                    { file = at name; name = name; refusal = Some reason }
            ]
            |> List.sortWith (fun left right -> String.CompareOrdinal(left.name, right.name))

    let private found (argument: string) : Found list =
        if argument = "-" then
            [ { file = "-"; name = "stdin"; refusal = None } ]
        elif Directory.Exists argument then
            below argument
        elif File.Exists argument then
            [
                { file = argument; name = nonNull (Path.GetFileName argument); refusal = None }
            ]
        else
            refuse $"there is no file '{argument}'"

    let private template (arguments: ParseResults<SubmitArguments>) =
        let given = arguments.TryGetResult SubmitArguments.Name_As

        match Option.map NameTemplate.parse given with
        | Some(Error message) -> refuse $"--name-as: {message}"
        | _ -> given

    let all (arguments: ParseResults<SubmitArguments>) (temporary: string) =
        let given =
            match arguments.TryGetResult SubmitArguments.Files with
            | Some files -> files |> List.filter (fun file -> file <> "--")
            | None -> refuse "name at least one file"

        if given |> List.filter (fun file -> file = "-") |> List.length > 1 then
            refuse "standard input can be read once; write - once"

        if arguments.Contains SubmitArguments.Json && List.contains "-" given then
            refuse "the result of - and --json both go to standard output; leave one of them out"

        let template = template arguments
        let isWaiting = not (arguments.Contains SubmitArguments.No_Wait)
        let files = List.collect found given

        let key =
            arguments.TryGetResult SubmitArguments.Key
            |> Option.defaultWith (fun () -> Guid.NewGuid().ToString "N")

        let priority = arguments.GetResult(SubmitArguments.Priority, 0)

        if priority < -ProtocolLimits.priorityMax || priority > ProtocolLimits.priorityMax then
            refuse
                $"--priority: {priority} is not from -{ProtocolLimits.priorityMax} to {ProtocolLimits.priorityMax}"

        let templated (found: Found) index =
            match template with
            | None -> None
            | Some template ->
                match NameTemplate.apply template (found.file.Replace('\\', '/')) (index + 1) with
                | Ok name -> Some name
                | Error reason ->
                    refuse
                        $"--name-as: no name for the result of '{found.file}': {reason}; {{/}} is the name of the file alone"

        let isOne =
            match files with
            | [ _ ] -> true
            | _ -> false

        let pipeline =
            ClientCommand.pipelineOf (arguments.GetResult(SubmitArguments.Pipeline, ""))

        let upload index (found: Found) =
            let given = templated found index

            // A scheduler that stores the result names it NAME.out, after the task.
            let name =
                match given with
                | Some given when not isWaiting -> given
                | _ -> found.name

            match found.refusal, TaskName.parse name with
            | None, Error reason -> refuse $"the name '{name}' cannot be used: {reason}"
            | _ ->
                let key = if isOne then key else $"{key}/{index + 1}"

                if Text.Encoding.UTF8.GetByteCount key > ProtocolLimits.keyBytesMax then
                    refuse
                        $"--key: the key '{key}' has more than {ProtocolLimits.keyBytesMax} bytes"

                let path, size, failure =
                    match found.refusal with
                    | Some refusal -> found.file, 0L, Some refusal
                    | None ->
                        try
                            let path, size = locate temporary index found.file
                            path, size, None
                        with
                        | :? IOException
                        | :? UnauthorizedAccessException as error ->
                            found.file, 0L, Some $"it cannot be read: {error.Message}"

                {
                    number = index + 1
                    file = found.file
                    name = name
                    result = given |> Option.defaultValue (name + ".out")
                    path = path
                    size = size
                    failure = failure
                    submission =
                        Submission(
                            Name = name,
                            Payload = Payload.FromFile path,
                            Pipeline = pipeline,
                            Priority = priority,
                            Key = key,
                            Delivery = if isWaiting then Delivery.Result else Delivery.Stored
                        )
                }

        let uploads = List.mapi upload files

        match uploads |> List.countBy _.result |> List.tryFind (fun (_, count) -> count > 1) with
        | Some(result, count) ->
            refuse
                $"the results of {count} files would have the name {result}; submit the files one by one, or name the results with --name-as"
        | None -> uploads

    /// Writes a complete result, or nothing, under a name that the result of no other file has. Returns the path.
    let store (folder: string) (results: ResultFolder) (upload: Upload) (result: TaskResult) =
        if upload.file = "-" then
            use bytes = result.OpenRead()
            bytes.CopyTo(StandardStreams.bytes ())
            "standard output"
        else
            let struct (name, ending) =
                if upload.result = upload.name + ResultFolder.Ending then
                    struct (upload.name, ResultFolder.Ending)
                else
                    struct (upload.result, "")

            match TaskName.parse name with
            | Error reason -> invalidOp $"the result '{name}' has no valid name: {reason}"
            | Ok name ->
                let temporary = Path.Combine(folder, $".fss-{Guid.NewGuid():N}.tmp")

                try
                    result.MoveTo temporary
                    results.Put(upload.file, name, ending, temporary)
                finally
                    File.Delete temporary // there only if the move has failed
