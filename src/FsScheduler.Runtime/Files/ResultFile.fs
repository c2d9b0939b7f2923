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
