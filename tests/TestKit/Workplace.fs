namespace FsScheduler.TestKit

open System
open System.IO

/// A folder for one test, with an `entrada/` to fill.
type Workplace() =
    let path = Directory.CreateTempSubdirectory("fss-system-").FullName
    do Directory.CreateDirectory(Path.Combine(path, "entrada")) |> ignore

    member _.Path = path
    member _.At(relative: string) = Path.Combine(path, relative)

    /// Makes a file of `entrada/` last changed two hours ago: old enough for every settling time here.
    member place.Put(name: string, bytes: byte[]) =
        let file = place.At $"entrada/{name}"
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName file)) |> ignore
        File.WriteAllBytes(file, bytes)
        File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddHours -2.0)

    member place.Put(name: string, text: string) =
        place.Put(name, Text.Encoding.UTF8.GetBytes text)

    /// A whole file that comes by rename, over an older one if there is one.
    member place.Rename(name: string, text: string) =
        let elsewhere = place.At $"{Guid.NewGuid():N}"
        File.WriteAllText(elsewhere, text)
        File.Move(elsewhere, place.At $"entrada/{name}", true)

    member place.HasResult(name: string) =
        File.Exists(place.At $"resultados/{name}")

    member place.Result(name: string) =
        File.ReadAllText(place.At $"resultados/{name}")

    /// Every file below `resultados/`, by its path from there, sorted; temporary ones too.
    member place.Results =
        let root = place.At "resultados"

        if Directory.Exists root then
            Directory.EnumerateFiles(
                root,
                "*",
                EnumerationOptions(
                    RecurseSubdirectories = true,
                    AttributesToSkip = FileAttributes.None
                )
            )
            |> Seq.map (fun file -> Path.GetRelativePath(root, file).Replace('\\', '/'))
            |> Seq.sort
            |> List.ofSeq
        else
            []

    interface IDisposable with
        member _.Dispose() = Directory.Delete(path, true)
