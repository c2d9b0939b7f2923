namespace FsScheduler.Protocol

open System
open System.Security.Cryptography
open System.Text
open FsScheduler.Core

/// The tokens of workers and of clients, at least one in all. Kept as digests, so that neither a dump of memory nor the
/// time of a comparison reveals a token.
[<Sealed>]
type Tokens internal (workers: byte[][], clients: byte[][], shortest: int) =

    /// The length of the shortest token, in characters.
    member _.Shortest = shortest

    static member internal DigestOf(token: string) =
        SHA256.HashData(Encoding.UTF8.GetBytes token)

    /// Whether a token admits a role. Compares with every token of both roles, each in constant time, and does not stop
    /// at the one that is equal.
    member _.Admit(role: Role, token: string option) : bool =
        let given = token |> Option.defaultValue "" |> Tokens.DigestOf

        let isAmong (digests: byte[][]) =
            let mutable isFound = false

            for digest in digests do
                let isSame = CryptographicOperations.FixedTimeEquals(digest, given)
                isFound <- isFound || isSame

            isFound

        let isWorker = isAmong workers
        let isClient = isAmong clients

        match role with
        | Role.Worker _ -> isWorker
        | Role.Client -> isClient

module Tokens =

    /// The length below which a token can be guessed, and is warned of, in characters.
    let charsAdvised = 16

    /// The most tokens of a file: each is compared at every HELLO.
    let countMax = 1_000

    type private Entry = { line: int; isWorker: bool; token: string }

    let private entry (number: int) (words: string[]) : Result<Entry, string> =
        match words with
        | [| "worker" | "client"; token |] when
            Encoding.UTF8.GetByteCount token > ProtocolLimits.tokenBytesMax
            ->
            Error $"line {number}: a token has at most {ProtocolLimits.tokenBytesMax} bytes"
        | [| "worker" | "client" as role; token |] ->
            Ok { line = number; isWorker = (role = "worker"); token = token }
        | [| "worker" | "client" |] -> Error $"line {number}: the token is missing"
        | _ when words[0] = "worker" || words[0] = "client" ->
            Error $"line {number}: a token has no blanks"
        | _ -> Error $"line {number}: write 'worker TOKEN' or 'client TOKEN'"

    let private conflict (entries: Entry[]) : string option =
        entries
        |> Array.groupBy _.token
        |> Array.tryPick (fun (_, same) ->
            same
            |> Array.tryFind (fun entry -> entry.isWorker <> same[0].isWorker)
            |> Option.map (fun entry ->
                $"line {entry.line}: this token is already one of the other role, on line {same[0].line}"))

    /// <summary>Reads a token file: lines <c>worker TOKEN</c> and <c>client TOKEN</c>, blank lines, and
    /// comments from a <c>#</c> at the start of a line.</summary>
    /// <returns>The tokens, or the first wrong line and why; the error never contains a token.</returns>
    let parse (text: string) : Result<Tokens, string> =
        let blanks = [| ' '; '\t'; '\r'; '\uFEFF' |]

        let lines =
            text.Split '\n'
            |> Array.mapi (fun i line ->
                struct (i + 1, line.Split(blanks, StringSplitOptions.RemoveEmptyEntries)))
            |> Array.filter (fun struct (_, words) -> words.Length > 0 && words[0][0] <> '#')
            |> Array.map (fun struct (number, words) -> entry number words)

        let refusals =
            lines
            |> Array.choose (function
                | Error reason -> Some reason
                | Ok _ -> None)

        let entries = lines |> Array.choose Result.toOption

        if refusals.Length > 0 then
            Error refusals[0]
        elif entries.Length = 0 then
            Error "the file has no token; add a line 'worker TOKEN' or 'client TOKEN'"
        elif entries.Length > countMax then
            Error $"line {entries[countMax].line}: there are more than {countMax} tokens"
        else
            match conflict entries with
            | Some reason -> Error reason
            | None ->
                let digests isWorker =
                    entries
                    |> Array.filter (fun entry -> entry.isWorker = isWorker)
                    |> Array.map (fun entry -> Tokens.DigestOf entry.token)

                let shortest = entries |> Array.map _.token.Length |> Array.min
                Ok(Tokens(digests true, digests false, shortest))
