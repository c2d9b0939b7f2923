namespace FsScheduler.Scheduler

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Security.Cryptography
open System.Text
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>The folder that `submit` writes results to. A result replaces an older result of the same file. Everything else
/// of its name stays, and the result gets another name: the result of another file, a result that was submitted later, and
/// a file that was changed or put there by others. A record in the user's own data, one for each folder, remembers which
/// result is whose; several clients append to it at once.</summary>
/// <param name="folder">The folder, which exists.</param>
/// <param name="submittedAt">When this command was started; results of later commands are newer.</param>
[<Sealed>]
type ResultFolder(folder: string, submittedAt: DateTime) =
    /// In bytes. A record over this size is begun anew; results that it had are not replaced any more.
    let recordMax = 16L * 1024L * 1024L

    let hashOf (text: string) =
        (Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes text))).Substring(0, 32)

    /// Empty where the system has no folder for such data: then no result is replaced.
    let recordFolder =
        match
            Environment.GetFolderPath(
                Environment.SpecialFolder.LocalApplicationData,
                Environment.SpecialFolderOption.DoNotVerify
            )
        with
        | "" -> ""
        | data -> Path.Combine(data, "fs-scheduler", "submitted")

    let recordPath = Path.Combine(recordFolder, hashOf (Path.GetFullPath folder))

    /// Of the latest result of each name: hash of the source, time of submission in ticks, stamp.
    let known = Dictionary<string, struct (string * int64 * string)>()

    /// Identifies a result by length and time of last write, which a rename keeps. A link has none.
    let stampOf (path: string) =
        let file = FileInfo path

        if file.Exists && isNull file.LinkTarget then
            $"{file.Length}-{file.LastWriteTimeUtc.Ticks}"
        else
            "none"

    let mutable position = 0L

    let note (line: string) =
        match line.Split('\t', 4) with
        | [| source; at; stamp; name |] ->
            match Int64.TryParse(at, NumberStyles.None, CultureInfo.InvariantCulture) with
            | true, at -> known[name] <- struct (source, at, stamp)
            | _ -> ()
        | _ -> ()

    /// Reads the lines appended since the last call. A line that is not complete yet is read by the next call.
    let read () =
        if recordFolder <> "" && File.Exists recordPath then
            use file =
                new FileStream(
                    recordPath,
                    FileMode.Open,
                    FileAccess.Read,
                    FileShare.ReadWrite ||| FileShare.Delete
                )

            file.Position <- min position file.Length
            use reader = new StreamReader(file, Encoding.UTF8, false)
            let text = reader.ReadToEnd()
            let whole = text.LastIndexOf '\n' + 1

            for line in text.Substring(0, whole).Split '\n' do
                note line

            position <-
                min position file.Length
                + int64 (Encoding.UTF8.GetByteCount(text.AsSpan(0, whole)))

    let refresh () =
        try
            read ()
        with
        | :? IOException
        | :? UnauthorizedAccessException -> () // without a record, no result is replaced

    let append (source: string) (stamp: string) (result: string) =
        let at = submittedAt.Ticks.ToString CultureInfo.InvariantCulture
        let line = $"{source}\t{at}\t{stamp}\t{result}\n"

        try
            if recordFolder = "" then
                raise (IOException "there is no folder for the record")

            // Other users must not read names of files.
            Rights.createFolder recordFolder
            Rights.close recordFolder |> ignore

            if position > recordMax then
                File.Delete recordPath

            use file =
                new FileStream(
                    recordPath,
                    FileMode.Append,
                    FileAccess.Write,
                    FileShare.ReadWrite ||| FileShare.Delete,
                    1
                )

            file.Write(ReadOnlySpan(Encoding.UTF8.GetBytes line))
        with
        | :? IOException
        | :? UnauthorizedAccessException -> () // the next result of this file gets another name

    let targetOf (result: string) = Path.Combine(folder, result)

    let holderOf (source: string) (result: string) =
        // A folder of that name makes the move fail.
        if not (File.Exists(targetOf result)) then
            NameHolder.Nobody
        else
            match known.TryGetValue result with
            | true, struct (owner, at, stamp) when
                owner = source && at <= submittedAt.Ticks && stampOf (targetOf result) = stamp
                ->
                NameHolder.Same
            | _ -> NameHolder.Other

    /// Moves a result to the first name that is free or may be replaced. A name may be taken between check and move; the
    /// move then fails, and the next name is tried.
    let rec move (source: string) (temporary: string) (ending: string) (names: TaskName seq) =
        let resultOf (name: TaskName) = TaskName.toString name + ending

        match ResultName.choose (resultOf >> holderOf source) names with
        | ValueNone ->
            raise (
                IOException
                    $"all names for it are taken in '{folder}'; name another folder with --out"
            )
        | ValueSome(struct (name, mayReplace)) ->
            let target = targetOf (resultOf name)
            Directory.CreateDirectory(nonNull (Path.GetDirectoryName target)) |> ignore

            try
                File.Move(temporary, target, mayReplace)
                resultOf name
            with :? IOException when not mayReplace && File.Exists target ->
                names
                |> Seq.skipWhile (fun other -> other <> name)
                |> Seq.skip 1
                |> move source temporary ending

    /// <summary>Moves a result into the folder.</summary>
    /// <param name="file">The submitted file, which is identified by its full path.</param>
    /// <param name="name">The name of the result, without its ending.</param>
    /// <param name="ending">`ResultFolder.Ending`, or nothing where `--name-as` gives the complete name.</param>
    /// <param name="temporary">A file with the complete result, on the same file system.</param>
    /// <returns>The path of the result.</returns>
    /// <exception cref="T:System.IO.IOException">The result cannot be moved.</exception>
    member _.Put(file: string, name: TaskName, ending: string, temporary: string) : string =
        let source = hashOf (Path.GetFullPath file)
        let stamp = stampOf temporary
        refresh ()
        let result = move source temporary ending (ResultName.candidates (OfFile name) name)
        append source stamp result
        known[result] <- struct (source, submittedAt.Ticks, stamp)
        targetOf result

    /// The ending of the names of results, after the name of the file.
    static member Ending = ".out"
