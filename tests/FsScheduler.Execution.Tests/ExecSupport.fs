/// Programs to run as stages, and what runs them.
module FsScheduler.Execution.Tests.ExecSupport

open System
open System.Diagnostics
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Protocol
open FsScheduler.Execution.Exec
open FsScheduler.TestKit

/// Where a program of every Unix is, or the test is skipped.
let find (program: string) =
    match AllowedProgram.find program with
    | Ok path -> path
    | Error reason -> skiptest $"this machine cannot run it: {reason}"

/// The stages of a worker in a folder of its own, which is empty at the end.
type Bench(programs: string list, ?lines: LineLimits, ?isPortable: bool) =
    let temp = new TempFolder()
    let folder = temp.Path

    let stages =
        new ExecStages(
            {
                programs =
                    dict [ for program in programs -> program, find program ]
                    |> fun all -> System.Collections.Generic.Dictionary all
                token = Some "a-secret-token"
                temporary = folder
                slots = 4
                lines = defaultArg lines LineLimits.standard
                isPortable = defaultArg isPortable false
                log = NullLogger.Instance
            }
        )

    member _.Folder = folder
    member _.Stages = stages

    member _.Left =
        Directory.EnumerateFileSystemEntries folder
        |> Seq.map (fun path -> Path.GetFileName path)
        |> List.ofSeq

    /// A payload in a file, as large ones are.
    member _.Spool(bytes: byte[]) =
        let path = Path.Combine(folder, "payload")
        File.WriteAllBytes(path, bytes)
        Spooled(path, int64 bytes.Length * 1L<B>)

    /// Runs a stage as it stands in a PROCESS.
    member _.RunAsync(wire: string, payload: Content, ?bytesMax: int64, ?ct: CancellationToken) =
        let colon = wire.IndexOf ':'
        let kind = (ExecCommand.tryKind (wire.Substring(0, colon))).Value

        let work: Process = {
            attempt = { task = 7L<taskId>; number = 2 }
            name = "cartas/avó.PDF"
            stages = [| wire |]
            timeout = 60_000L<ms>
            piece = ValueNone
            files = ValueNone
        }

        stages
            .RunAsync(
                kind,
                wire.Substring(colon + 1),
                work,
                payload,
                (defaultArg bytesMax 1_000_000_000L) * 1L<B>,
                defaultArg ct CancellationToken.None
            )
            .WaitAsync
            patience

    member bench.Bytes(wire: string, payload: Content) : Task<byte[]> =
        task {
            match! bench.RunAsync(wire, payload) with
            | Bytes bytes -> return bytes
            | Spooled(path, size) ->
                let bytes = File.ReadAllBytes path
                File.Delete path
                Expect.equal (int64 bytes.Length * 1L<B>) size "the size that is told"
                return bytes
        }

    member bench.Text(wire: string, payload: string) : Task<string> =
        task {
            let! bytes = bench.Bytes(wire, Bytes(utf8 payload))
            return Encoding.UTF8.GetString bytes
        }

    /// The message of the failure that a stage ends with, and whether another attempt makes sense.
    member bench.Failure
        (wire: string, payload: Content, ?bytesMax: int64)
        : Task<struct (string * bool)> =
        task {
            try
                let! result = bench.RunAsync(wire, payload, ?bytesMax = bytesMax)
                return failtest $"{wire} gave {result}"
            with :? StageException as error ->
                return struct (error.Message, error.Retry)
        }

    interface IAsyncDisposable with
        member bench.DisposeAsync() =
            task {
                do! (stages :> IAsyncDisposable).DisposeAsync()
                File.Delete(Path.Combine(folder, "payload"))
                do! eventually "its folders are gone" (fun () -> bench.Left = [])
                do! (temp :> IAsyncDisposable).DisposeAsync()
            }
            |> ValueTask

/// Single quotes around a script, for an argument.
let script (text: string) =
    let doubled = text.Replace("'", "''")
    $"'{doubled}'"

let megabytes = 1024 * 1024

let many size =
    let bytes: byte[] = Array.zeroCreate size
    Random(1).NextBytes bytes
    bytes
