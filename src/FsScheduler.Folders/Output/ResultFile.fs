namespace FsScheduler.Folders

open System
open System.IO
open System.IO.Hashing
open FsScheduler.Core

/// Content hashes of results, which tell whether a file is still complete.
module ResultFile =

    let hashOf (bytes: byte[]) : ContentHash = {
        size = int64 bytes.Length * 1L<B>
        hash = XxHash3.HashToUInt64(ReadOnlySpan bytes)
    }

    /// <summary>The content hash of a file, which is read to its end.</summary>
    /// <exception cref="T:System.IO.IOException">The file is missing, or cannot be read.</exception>
    let read (path: string) : ContentHash =
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

    /// The content hash of a temporary file of the publisher.
    let tryProof (path: string) : Result<ContentHash, PublishFailure> =
        try
            Ok(read path)
        with
        | :? FileNotFoundException
        | :? DirectoryNotFoundException -> Error(TempLost path)
        | :? IOException
        | :? UnauthorizedAccessException as error -> Error(DiskFailed error.Message)

    /// Whether a file has exactly this content. False if it is missing, or cannot be read.
    let holds (path: string) (hash: ContentHash) : bool =
        try
            let info = FileInfo path
            info.Exists && info.Length * 1L<B> = hash.size && read path = hash
        with
        | :? IOException
        | :? UnauthorizedAccessException -> false

/// Marks that tell results from other files.
module ResultMark =

    let ofContent (result: Content) : ResultMark =
        match result with
        | Bytes bytes -> ResultMark.Holding(ResultFile.hashOf bytes)
        | Spooled(path, size) ->
            match FileStatus.ofFile path with
            | ValueSome file -> ResultMark.Written(size, file.modified)
            | ValueNone -> ResultMark.Unmarked

    /// <summary>The content hash of a file, if it has this mark.</summary>
    /// <param name="isSameBoot">Whether there was no reboot since: otherwise a large file may be torn.</param>
    /// <param name="path">The file; it may be missing.</param>
    /// <param name="mark">The mark of a result.</param>
    let find (isSameBoot: bool) (path: string) (mark: ResultMark) : ContentHash voption =
        try
            match mark with
            | ResultMark.Unmarked -> ValueNone
            | ResultMark.Holding hash ->
                if ResultFile.holds path hash then
                    ValueSome hash
                else
                    ValueNone
            | ResultMark.Written(size, modified) ->
                match FileStatus.ofFile path with
                | ValueSome file when isSameBoot && file.size = size && file.modified = modified ->
                    ValueSome(ResultFile.read path)
                | _ -> ValueNone
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ValueNone
