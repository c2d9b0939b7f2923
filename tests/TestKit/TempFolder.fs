namespace FsScheduler.TestKit

open System
open System.IO
open System.Threading.Tasks

/// A folder of its own for each test, on the real disk.
type TempFolder() =
    let path = Directory.CreateTempSubdirectory("fss-").FullName
    member _.Path = path
    member _.At(relative: string) = path + "/" + relative

    /// Writes a file last changed a minute ago: old enough for any settling time of these tests but an hour.
    member folder.Write(relative: string, text: string) =
        let file = folder.At relative
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName file)) |> ignore
        File.WriteAllText(file, text)
        File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddMinutes -1.0)

    member folder.Link(relative: string, target: string) =
        File.CreateSymbolicLink(folder.At relative, target) |> ignore

    interface IDisposable with
        member _.Dispose() =
            Directory.Delete(path, recursive = true)

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            Directory.Delete(path, recursive = true)
            ValueTask.CompletedTask
