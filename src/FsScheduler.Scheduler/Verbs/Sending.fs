namespace FsScheduler.Scheduler

open System
open System.IO
open Argu
open FsScheduler.Core
open FsScheduler.Runtime

/// The command line of `fs-scheduler submit`.
[<RequireQualifiedAccess>]
type SubmitArguments =
    | [<MainCommand>] Files of FILE: string list
    | [<Unique>] Pipeline of STAGES: string
    | [<Unique>] Priority of NUMBER: int
    | [<Unique>] Key of KEY: string
    | [<Unique>] Out of FOLDER: string
    | [<Unique>] No_Wait
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | SubmitArguments.Files _ ->
                "the files; - is standard input, whose result goes to standard output"
            | SubmitArguments.Pipeline _ -> "what is done with each (default: the scheduler's own)"
            | SubmitArguments.Priority _ -> "higher first (default: 0)"
            | SubmitArguments.Key _ ->
                "for idempotence: the same key with the same files runs nothing twice (default: a new one)"
            | SubmitArguments.Out _ -> "where results go, as NAME.out (default: the current folder)"
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

    let all (arguments: ParseResults<SubmitArguments>) (temporary: string) =
        let files =
            match arguments.TryGetResult SubmitArguments.Files with
            | Some files -> files |> List.filter (fun file -> file <> "--")
            | None -> wrong "say which files"

        if files |> List.filter (fun file -> file = "-") |> List.length > 1 then
            wrong "standard input can be read once: say - once"

        if arguments.Contains SubmitArguments.Json && List.contains "-" files then
            wrong
                "the result of - goes to standard output, where --json would be: leave one of them out"

        let key =
            arguments.TryGetResult SubmitArguments.Key
            |> Option.defaultWith (fun () -> Guid.NewGuid().ToString "N")

        let priority = arguments.GetResult(SubmitArguments.Priority, 0)

        if priority < -Limit.priorityMax || priority > Limit.priorityMax then
            wrong $"--priority is from -{Limit.priorityMax} to {Limit.priorityMax}"

        let sending index file =
            if file <> "-" && not (File.Exists file) then
                wrong $"there is no file '{file}'"

            let name =
                if file = "-" then
                    "stdin"
                else
                    nonNull (Path.GetFileName file)

            match TaskName.parse name with
            | Error reason -> wrong $"the name '{name}' cannot be used: {reason}"
            | Ok _ ->
                let key = if files.Length = 1 then key else $"{key}/{index + 1}"

                if Text.Encoding.UTF8.GetByteCount key > Limit.keyBytesMax then
                    wrong
                        $"--key is too long; the key of each file has at most {Limit.keyBytesMax} bytes"

                let path, size, trouble =
                    try
                        let path, size = locate temporary index file
                        path, size, None
                    with
                    | :? IOException
                    | :? UnauthorizedAccessException as error ->
                        file, 0L, Some $"it cannot be read: {error.Message}"

                {
                    file = file
                    name = name
                    path = path
                    size = size * 1L<B>
                    trouble = trouble
                    message = {
                        ref = string index
                        name = name
                        pipeline = arguments.GetResult(SubmitArguments.Pipeline, "")
                        priority = priority
                        key = Some key
                        want =
                            if arguments.Contains SubmitArguments.No_Wait then
                                Want.File
                            else
                                Want.Result
                    }
                }

        let sendings = List.mapi sending files

        match sendings |> List.countBy _.name |> List.tryFind (fun (_, count) -> count > 1) with
        | Some(name, count) ->
            wrong
                $"{count} files are called {name}: their results would have one name; submit them apart"
        | None -> sendings

    /// Writes a result: whole under a name that no other file's result has, or not at all.
    let store (folder: string) (results: ResultFolder) (sending: Sending) (payload: Payload) =
        if sending.file = "-" then
            let output = StandardStreams.bytes ()

            match payload with
            | Spooled(path, _) ->
                do
                    use file = File.OpenRead path
                    file.CopyTo output

                File.Delete path
            | Bytes bytes -> output.Write(bytes, 0, bytes.Length)
            | Packed
            | Filed
            | Recorded _
            | Input _
            | Slice _ -> ()

            "standard output"
        else
            let put temporary =
                match TaskName.parse sending.name with
                | Ok name -> results.Put(sending.file, name, temporary)
                | Error reason -> invalidOp $"a file is called '{sending.name}': {reason}"

            match payload with
            | Spooled(path, _) -> put path
            | Bytes bytes ->
                let temporary =
                    Path.Combine(folder, sending.name + $".out.{Environment.ProcessId}.tmp")

                try
                    File.WriteAllBytes(temporary, bytes)
                    put temporary
                finally
                    File.Delete temporary
            | Packed
            | Filed
            | Recorded _
            | Input _
            | Slice _ -> invalidOp "what is received is in memory or in a file of its own"
