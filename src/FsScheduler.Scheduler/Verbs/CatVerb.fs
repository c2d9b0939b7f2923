namespace FsScheduler.Scheduler

open System
open System.IO
open Argu
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Cli

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
            | CatArguments.Connect _ -> Remote.connectUsage
            | CatArguments.Token_File _ -> Remote.tokenFileUsage

/// `cat`: results to standard output, byte for byte, one behind the other. Exit code 1: one of them is not to be had.
module CatVerb =

    let private write (output: Stream) (arrival: IncomingMessage<FromScheduler>) =
        match arrival.payload with
        | Spooled(path, _) ->
            try
                use file = File.OpenRead path
                file.CopyTo output
            finally
                File.Delete path
        | _ ->
            let bytes = Remote.bytesOf arrival
            output.Write(bytes, 0, bytes.Length)

        output.Flush()

    let run (arguments: ParseResults<CatArguments>) : int =
        let tasks =
            match arguments.TryGetResult CatArguments.Tasks with
            | Some tasks -> tasks |> List.map Remote.taskOf
            | None ->
                raise (
                    WrongArguments "say the numbers of tasks; 'fs-scheduler tasks --all' lists them"
                )

        Remote.run
            (arguments.TryGetResult CatArguments.Connect)
            (arguments.TryGetResult CatArguments.Token_File)
            (fun client ct ->
                task {
                    let output = StandardStreams.bytes ()
                    let mutable code = ExitCode.ok

                    for id in tasks do
                        match! Remote.ask client (ToScheduler.Fetch id) ct with
                        | Ok({ message = FromScheduler.Fetch _ } as arrival) ->
                            match arrival.failure with
                            | null -> write output arrival
                            | trouble ->
                                Remote.complain
                                    "cat"
                                    (Remote.unstored $"the result of task {id}" trouble)

                                code <- ExitCode.quarantined
                        | Ok _ -> Remote.somethingElse ()
                        | Error message ->
                            Remote.complain "cat" message
                            code <- ExitCode.quarantined

                    return code
                })
