namespace FsScheduler.Runtime

open System
open System.IO
open System.Threading

/// <summary>The scheduler's own folder, held by one scheduler at a time.</summary>
/// <param name="path">Made if it is missing.</param>
/// <exception cref="T:System.IO.IOException">It cannot be written, or another scheduler holds it.</exception>
/// <exception cref="T:System.UnauthorizedAccessException">It may not be written.</exception>
[<Sealed>]
type StateFolder(path: string) =
    let spool = Path.Combine(path, "spool")
    do Directory.CreateDirectory spool |> ignore

    // The system lets go of it with the process, however that ends.
    let lock' =
        try
            new FileStream(
                Path.Combine(path, "lock"),
                FileMode.OpenOrCreate,
                FileAccess.ReadWrite,
                FileShare.None
            )
        with :? IOException ->
            raise (
                IOException
                    $"another scheduler works with the folder '{path}'; end it, or name another folder with --state"
            )

    let mutable count = 0L

    // What an earlier run left: nobody knows any more what it was for.
    do
        for left in Directory.EnumerateFiles spool do
            File.Delete left

    /// A path for a payload that is too large for memory.
    member _.NewSpool() : string | null =
        Path.Combine(spool, string (Interlocked.Increment &count))

    interface IDisposable with
        member _.Dispose() = lock'.Dispose()
