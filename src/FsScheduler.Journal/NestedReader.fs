namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Text.Json
open FsScheduler.Core
open FsScheduler.Machine

/// Where the payload of an event is.
[<Struct>]
type PayloadPlace = {
    /// Offset in the payloads of the batch; -1: not there.
    at: int
    bytes: int64
    /// The spool file that has the payload; null: none.
    file: string | null
}

/// Parses the strings of events.
module internal EventText =

    let damaged what = raise (InvalidDataException what)

    let cause text =
        match EventNames.tryCause text with
        | Some cause -> cause
        | None -> damaged $"the cause '{text}'"

    let want text =
        match EventNames.tryWant text with
        | Some want -> want
        | None -> damaged $"the want '{text}'"

    let name text =
        match TaskName.parse text with
        | Ok name -> name
        | Error reason -> damaged $"the name '{text}': {reason}"

    let hash (text: string) =
        UInt64.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture)

/// Reads the nested objects and arrays of events, each from its first token.
module internal NestedReader =

    /// Reads the place of a payload: an object of `at` or `file`, and `bytes`.
    let place (reader: byref<Utf8JsonReader>) : PayloadPlace =
        let mutable found = { at = -1; bytes = 0L; file = null }

        while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
            let name = reader.GetString()
            reader.Read() |> ignore

            match name with
            | "at" -> found <- { found with at = reader.GetInt32() }
            | "bytes" -> found <- { found with bytes = reader.GetInt64() }
            | "file" -> found <- { found with file = reader.GetString() }
            | _ -> reader.Skip()

        found

    let private numbers
        (reader: byref<Utf8JsonReader>)
        (into: Dictionary<string, int64>)
        : string | null =
        let mutable hash: string | null = null

        while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
            let name = nonNull (reader.GetString())
            reader.Read() |> ignore

            match reader.TokenType with
            | JsonTokenType.Number -> into[name] <- reader.GetInt64()
            | JsonTokenType.String -> hash <- reader.GetString()
            | _ -> reader.Skip()

        hash

    let input (reader: byref<Utf8JsonReader>) : FileVersion =
        let found = Dictionary<string, int64>()
        numbers &reader found |> ignore
        let get name = found.GetValueOrDefault(name, 0L)

        {
            size = get "bytes" * 1L<B>
            modified = get "modified"
            changed = get "changed"
            inode = get "inode"
        }

    let mark (reader: byref<Utf8JsonReader>) : ResultMark =
        let found = Dictionary<string, int64>()
        let hash = numbers &reader found
        let size = found.GetValueOrDefault("bytes", 0L) * 1L<B>

        match hash with
        | null -> ResultMark.Written(size, found.GetValueOrDefault("modified", 0L))
        | hash -> ResultMark.Holding { size = size; hash = EventText.hash hash }

    let sizes (reader: byref<Utf8JsonReader>) (into: List<int64>) =
        while reader.Read() && reader.TokenType = JsonTokenType.Number do
            into.Add(reader.GetInt64())

    let list (reader: byref<Utf8JsonReader>) : string[] =
        let values = List<string>()

        while reader.Read() && reader.TokenType = JsonTokenType.String do
            values.Add(nonNull (reader.GetString()))

        values.ToArray()

    let pieces (reader: byref<Utf8JsonReader>) (pipelineOf: string -> Pipeline) : CarriedPieces =
        let cuts = List<int64>()
        let mutable last = 0
        let mutable pipeline = ""

        while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
            let name = reader.GetString()
            reader.Read() |> ignore

            match name with
            | "cuts" -> sizes &reader cuts
            | "last" -> last <- reader.GetInt32()
            | "pipeline" -> pipeline <- nonNull (reader.GetString())
            | _ -> reader.Skip()

        {
            cuts = [| for cut in cuts -> cut * 1L<B> |]
            last = last
            pipeline = pipelineOf pipeline
        }

    let pastFailures
        (reader: byref<Utf8JsonReader>)
        (toInstant: int64 -> Instant)
        (into: List<Failure>)
        =
        while reader.Read() && reader.TokenType = JsonTokenType.StartObject do
            let found = Dictionary<string, int64>()
            let said = Dictionary<string, string>()

            while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
                let name = nonNull (reader.GetString())
                reader.Read() |> ignore

                match reader.TokenType with
                | JsonTokenType.Number -> found[name] <- reader.GetInt64()
                | JsonTokenType.String -> said[name] <- nonNull (reader.GetString())
                | _ -> reader.Skip()

            into.Add {
                attempt = int found["attempt"]
                cause = EventText.cause said["cause"]
                stages = said["stages"]
                worker = said.GetValueOrDefault("worker", "")
                error = said["error"]
                at = toInstant found["at"]
            }
