namespace FsScheduler.Scheduler

open System
open System.IO
open Argu
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Cli

/// The command line of `fs-scheduler submit`.
[<RequireQualifiedAccess>]
type SubmitArguments =
    | [<MainCommand>] Files of FILE: string list
    | [<Unique>] Pipeline of STAGES: string
    | [<Unique>] Priority of NUMBER: int
    | [<Unique>] Key of KEY: string
    | [<Unique>] Out of FOLDER: string
    | [<Unique>] Name_As of TEMPLATE: string
    | [<Unique>] No_Wait
    | [<Unique>] Halt of WHEN: string
    | [<Unique>] Joblog of FILE: string
    | [<Unique>] Eta
    | [<Unique; AltCommandLine("-q")>] Quiet
    | [<Unique; AltCommandLine("-v")>] Verbose
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | SubmitArguments.Files _ ->
                "the files, and folders with all that is in them; - is standard input, whose result goes to standard output"
            | SubmitArguments.Pipeline _ -> "what is done with each (default: the scheduler's own)"
            | SubmitArguments.Priority _ -> "higher first (default: 0)"
            | SubmitArguments.Key _ ->
                "for idempotence: the same key with the same files runs nothing twice (default: a new one)"
            | SubmitArguments.Out _ -> "where results go, as NAME.out (default: the current folder)"
            | SubmitArguments.Name_As _ ->
                "what results are called below --out, with {} {.} {/} {/.} {//} as in GNU parallel and {n} for a number (default: NAME.out)"
            | SubmitArguments.Halt _ ->
                "when to stop early, as in GNU parallel: now,fail=1 cancels what is on its way, soon,fail=10% waits for it; also success and done (default: never)"
            | SubmitArguments.Joblog _ ->
                "a file for a line for each that has ended, in the columns of GNU parallel; with + in front lines are added"
            | SubmitArguments.Eta -> "how long it may still take, on standard error"
            | SubmitArguments.Quiet -> "say only what is wrong"
            | SubmitArguments.Verbose -> "say also what is accepted"
            | SubmitArguments.No_Wait ->
                "end when all are accepted; results go to the scheduler's own folder of results"
            | SubmitArguments.Connect _ -> Remote.connectUsage
            | SubmitArguments.Token_File _ -> Remote.tokenFileUsage
            | SubmitArguments.Json -> Remote.jsonUsage

/// A file on its way.
type Sending = {
    /// As it was named.
    file: string
    name: string
    /// What its result is called, below the folder of results.
    result: string
    /// Where its bytes are.
    path: string
    size: Size
    /// Why it cannot be sent.
    trouble: string option
    message: Submit
}

/// The files of a `submit`, and their results.
module Sending =

    let private wrong message = raise (WrongArguments message)

    /// What has no size of its own goes into a file first.
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

    /// Where the bytes of a file are, and how many: standard input, pipes and what has no length are read to their end.
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

    /// What keeps a file from being sent as it was found, or nothing.
    let troubleWith (sending: Sending) : string option =
        match sending.trouble with
        | Some trouble -> Some trouble
        | None ->
            try
                use input = openFile sending.path

                if input.Length * 1L<B> = sending.size then
                    None
                else
                    Some "it changed while it was being sent"
            with
            | :? IOException
            | :? UnauthorizedAccessException as error -> Some $"it cannot be read: {error.Message}"

    /// What one argument stands for, before anything of it is opened.
    [<NoComparison>]
    type private Found = {
        file: string
        name: string
        /// Why it cannot be sent.
        refusal: string option
    }

    /// The files of a folder and of all below it, by name, as a scheduler takes them from its own: what is hidden or
    /// unfinished is left out.
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
            wrong $"there is no file '{argument}'"

    let private template (arguments: ParseResults<SubmitArguments>) =
        let given = arguments.TryGetResult SubmitArguments.Name_As

        match given |> Option.bind NameTemplate.problem with
        | Some problem -> wrong $"--name-as: {problem}"
        | None -> given

    let all (arguments: ParseResults<SubmitArguments>) (temporary: string) =
        let given =
            match arguments.TryGetResult SubmitArguments.Files with
            | Some files -> files |> List.filter (fun file -> file <> "--")
            | None -> wrong "say which files"

        if given |> List.filter (fun file -> file = "-") |> List.length > 1 then
            wrong "standard input can be read once: say - once"

        if arguments.Contains SubmitArguments.Json && List.contains "-" given then
            wrong
                "the result of - goes to standard output, where --json would be: leave one of them out"

        let template = template arguments
        let isWaiting = not (arguments.Contains SubmitArguments.No_Wait)
        let files = List.collect found given

        let key =
            arguments.TryGetResult SubmitArguments.Key
            |> Option.defaultWith (fun () -> Guid.NewGuid().ToString "N")

        let priority = arguments.GetResult(SubmitArguments.Priority, 0)

        if priority < -ProtocolLimits.priorityMax || priority > ProtocolLimits.priorityMax then
            wrong
                $"--priority is from -{ProtocolLimits.priorityMax} to {ProtocolLimits.priorityMax}"

        let templated (found: Found) index =
            match template with
            | None -> None
            | Some template ->
                match NameTemplate.apply template (found.file.Replace('\\', '/')) (index + 1) with
                | Ok name -> Some name
                | Error reason ->
                    wrong
                        $"--name-as: the result of '{found.file}' cannot be called that: {reason}; {{/}} is its name alone"

        let isOne =
            match files with
            | [ _ ] -> true
            | _ -> false

        let sending index (found: Found) =
            let given = templated found index

            // A scheduler names what it stores itself: NAME.out, for the name of the task.
            let name =
                match given with
                | Some given when not isWaiting -> given
                | _ -> found.name

            match found.refusal, TaskName.parse name with
            | None, Error reason -> wrong $"the name '{name}' cannot be used: {reason}"
            | _ ->
                let key = if isOne then key else $"{key}/{index + 1}"

                if Text.Encoding.UTF8.GetByteCount key > ProtocolLimits.keyBytesMax then
                    wrong
                        $"--key is too long; the key of each file has at most {ProtocolLimits.keyBytesMax} bytes"

                let path, size, trouble =
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
                    file = found.file
                    name = name
                    result = given |> Option.defaultValue (name + ".out")
                    path = path
                    size = size * 1L<B>
                    trouble = trouble
                    message = {
                        ref = string index
                        name = name
                        pipeline = arguments.GetResult(SubmitArguments.Pipeline, "")
                        priority = priority
                        key = Some key
                        want = if isWaiting then Want.Result else Want.File
                    }
                }

        let sendings = List.mapi sending files

        match sendings |> List.countBy _.result |> List.tryFind (fun (_, count) -> count > 1) with
        | Some(result, count) ->
            wrong
                $"{count} files would be {result}: their results would have one name; submit them apart, or name them with --name-as"
        | None -> sendings

    /// Writes a result: whole under a name that no other file's result has, or not at all.
    let store (folder: string) (results: ResultFolder) (sending: Sending) (payload: Payload) =
        if sending.file = "-" then
            let output = StandardStreams.bytes ()

            match payload with
            | Spooled(path, _) ->
                try
                    use file = File.OpenRead path
                    file.CopyTo output
                finally
                    SpoolFile.delete path
            | Bytes bytes -> output.Write(bytes, 0, bytes.Length)
            | Packed
            | Journaled
            | Recorded _
            | Input _
            | Slice _ -> ()

            "standard output"
        else
            let put temporary =
                let struct (name, ending) =
                    if sending.result = sending.name + ResultFolder.Ending then
                        struct (sending.name, ResultFolder.Ending)
                    else
                        struct (sending.result, "")

                match TaskName.parse name with
                | Ok name -> results.Put(sending.file, name, ending, temporary)
                | Error reason -> invalidOp $"a result is called '{name}': {reason}"

            match payload with
            | Spooled(path, _) ->
                try
                    put path
                finally
                    SpoolFile.delete path // moved, unless it could not be
            | Bytes bytes ->
                let temporary = Path.Combine(folder, $".fss-{Guid.NewGuid():N}.tmp")

                try
                    File.WriteAllBytes(temporary, bytes)
                    put temporary
                finally
                    File.Delete temporary
            | Packed
            | Journaled
            | Recorded _
            | Input _
            | Slice _ -> invalidOp "what is received is in memory or in a file of its own"
