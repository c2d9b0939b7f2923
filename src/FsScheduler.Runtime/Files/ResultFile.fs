namespace FsScheduler.Runtime.Files

open System
open System.IO
open System.IO.Hashing
open FsScheduler.Core

/// What a result file holds, in few bytes: whether it is still whole can be told from that.
module ResultFile =

    /// Of a result in memory.
    let proofOf (bytes: byte[]) : Proof = {
        size = int64 bytes.Length * 1L<B>
        hash = XxHash3.HashToUInt64(ReadOnlySpan bytes)
    }

    /// <summary>Of a file; it is read to its end.</summary>
    /// <exception cref="T:System.IO.IOException">It is missing, or cannot be read.</exception>
    let read (path: string) : Proof =
        use file =
            new FileStream(
                path,
                FileMode.Open,
                FileAccess.Read,
                FileShare.ReadWrite ||| FileShare.Delete,
                1,
                FileOptions.SequentialScan
            )

        let hash = XxHash3()
        hash.Append file

        { size = file.Position * 1L<B>; hash = hash.GetCurrentHashAsUInt64() }

    /// Of a temporary file of the publisher's.
    let tryProof (path: string) : Result<Proof, PublishTrouble> =
        try
            Ok(read path)
        with
        | :? FileNotFoundException
        | :? DirectoryNotFoundException -> Error(TempLost path)
        | :? IOException
        | :? UnauthorizedAccessException as error -> Error(DiskFailed error.Message)

    /// Whether a file holds exactly this. False if it is missing, or cannot be read.
    let holds (path: string) (proof: Proof) : bool =
        try
            let info = FileInfo path
            info.Exists && info.Length * 1L<B> = proof.size && read path = proof
        with
        | :? IOException
        | :? UnauthorizedAccessException -> false

/// <summary>By what a result is told from every other before it has its final name: what it holds, where it is in memory;
/// where it is a large file, which file that is, since a rename does not change when it was last written.</summary>
[<Struct>]
type ResultMark =
    | Holding of proof: Proof
    /// The time of its last change, in ticks.
    | Written of size: Size * modified: int64

    member mark.Size =
        match mark with
        | Holding proof -> proof.size
        | Written(size, _) -> size

module ResultMark =

    /// None: it is not there to be marked.
    let ofPayload (result: Payload) : ResultMark voption =
        match result with
        | Bytes bytes -> ValueSome(Holding(ResultFile.proofOf bytes))
        | Spooled(path, size) ->
            FileStamp.ofFile path
            |> ValueOption.map (fun file -> Written(size, file.modified))
        | Packed
        | Filed
        | Recorded _
        | Input _
        | Slice _ -> ValueNone

    /// Without the size.
    let toBytes (mark: ResultMark) : byte[] =
        match mark with
        | Holding proof -> BitConverter.GetBytes proof.hash
        | Written(_, modified) -> BitConverter.GetBytes modified

    let ofBytes (bytes: byte[]) (size: Size) (isHolding: bool) : ResultMark =
        let value = BitConverter.ToInt64(bytes, 0)

        if isHolding then
            Holding { size = size; hash = uint64 value }
        else
            Written(size, value)

    /// <summary>Whether a file is that result, and then what it holds.</summary>
    /// <param name="isSameBoot">Whether the machine has run on since: else a large file may be torn.</param>
    /// <param name="path">The file; it may be missing.</param>
    /// <param name="mark">Of the result.</param>
    let find (isSameBoot: bool) (path: string) (mark: ResultMark) : Proof voption =
        try
            match mark with
            | Holding proof ->
                if ResultFile.holds path proof then
                    ValueSome proof
                else
                    ValueNone
            | Written(size, modified) ->
                match FileStamp.ofFile path with
                | ValueSome file when isSameBoot && file.size = size && file.modified = modified ->
                    ValueSome(ResultFile.read path)
                | _ -> ValueNone
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ValueNone
