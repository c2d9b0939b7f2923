namespace FsScheduler.Scheduler

open System
open Argu
open FsScheduler.Cli
open FsScheduler.Sdk

/// The command line of `fs-scheduler cat`.
[<RequireQualifiedAccess>]
type CatArguments =
    | [<MainCommand>] Tasks of TASK: string list
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | CatArguments.Tasks _ -> "the numbers of tasks that are done"
            | CatArguments.Connect _ -> ClientCommand.connectUsage
            | CatArguments.Token_File _ -> ClientCommand.tokenFileUsage

/// `cat`: results to standard output, byte for byte, one after the other. Exit code 1: there is no result of a task.
module CatCommand =

    let run (arguments: ParseResults<CatArguments>) : int =
        let tasks =
            match arguments.TryGetResult CatArguments.Tasks with
            | Some tasks -> tasks |> List.map ClientCommand.taskIdOf
            | None ->
                raise (
                    WrongArguments
                        "name at least one task by its number; 'fs-scheduler tasks --all' lists them"
                )

        ClientCommand.run
            (arguments.TryGetResult CatArguments.Connect)
            (arguments.TryGetResult CatArguments.Token_File)
            (fun client ct ->
                task {
                    let output = StandardStreams.bytes ()
                    let mutable code = ExitCode.ok

                    for id in tasks do
                        try
                            use! result = client.FetchAsync(id, ct)
                            use bytes = result.OpenRead()
                            bytes.CopyTo output
                            output.Flush()
                        with
                        | :? RequestRefusedException as refused ->
                            ClientCommand.printError "cat" refused.Message
                            code <- ExitCode.quarantined
                        | :? AnswerNotStoredException as error ->
                            ClientCommand.printError "cat" (ClientCommand.notStored error)
                            code <- ExitCode.quarantined

                    return code
                })
