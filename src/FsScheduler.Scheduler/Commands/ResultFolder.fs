namespace FsScheduler.Scheduler

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Security.Cryptography
open System.Text
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>
/// The folder that `submit` writes results to. One replaces an older one of the same file; one of another file of that name,
/// or of a submission that was made later, stays, and so does what somebody else has put there or changed since; the new one
/// goes under another name. Which is which is remembered in
/// the user's own data, in a file for each such folder, which several clients append to at once.
/// </summary>
/// <param name="folder">Exists.</param>
/// <param name="submittedAt">When this command was started: what was submitted later is newer.</param>
[<Sealed>]
type ResultFolder(folder: string, submittedAt: DateTime) =
    /// A record that has grown over this is begun anew: what it knew of is told apart then.
    let recordMax = 16L * 1024L * 1024L

    let hashOf (text: string) =
        (Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes text))).Substring(0, 32)

    /// Empty where the system has no place for such data: then nothing is ever replaced.
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

    /// Source and time of submission of the latest result of each name, and its stamp.
    let known = Dictionary<string, struct (string * int64 * string)>()

    /// By which a result is known again: its length and its time of last write, which a rename keeps. A link is none.
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

    /// What has been appended since the last look. Lines are written whole; one that is cut off is looked at again.
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
        | :? UnauthorizedAccessException -> () // what is not known is not replaced

    let append (source: string) (stamp: string) (result: string) =
        let at = submittedAt.Ticks.ToString CultureInfo.InvariantCulture
        let line = $"{source}\t{at}\t{stamp}\t{result}\n"

        try
            if recordFolder = "" then
                raise (IOException "there is no place for it")

            // Names of files are nobody else's business.
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
        | :? UnauthorizedAccessException -> () // the next result of this file is told apart, and not lost

    let targetOf (result: string) = Path.Combine(folder, result)

    let holderOf (source: string) (result: string) =
        // A folder in the way is an error, as ever.
        if not (File.Exists(targetOf result)) then
            NameHolder.Nobody
        else
            match known.TryGetValue result with
            | true, struct (owner, at, stamp) when
                owner = source && at <= submittedAt.Ticks && stampOf (targetOf result) = stamp
                ->
                NameHolder.Same
            | _ -> NameHolder.Other

    /// The first name that takes it: one that is free by the look may be gone by the move, which then fails.
    let rec move (source: string) (temporary: string) (ending: string) (names: TaskName seq) =
        let resultOf (name: TaskName) = TaskName.toString name + ending

        match ResultName.choose (resultOf >> holderOf source) names with
        | ValueNone ->
            raise (IOException $"all names for it are taken in '{folder}'; give another with --out")
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

    /// <summary>Puts a result in its place.</summary>
    /// <param name="file">The file that was submitted; where it is tells it from others of its name.</param>
    /// <param name="name">What it is called, without its ending.</param>
    /// <param name="ending">`ResultFolder.Ending`, or nothing where somebody chose the whole name.</param>
    /// <param name="temporary">The result, whole, in this folder or on its file system. It is moved.</param>
    /// <returns>Where it is.</returns>
    /// <exception cref="T:System.IO.IOException">It cannot be put there.</exception>
    member _.Put(file: string, name: TaskName, ending: string, temporary: string) : string =
        let source = hashOf (Path.GetFullPath file)
        let stamp = stampOf temporary
        refresh ()
        let result = move source temporary ending (ResultName.candidates (OfFile name) name)
        append source stamp result
        known[result] <- struct (source, submittedAt.Ticks, stamp)
        targetOf result

    /// What results are called behind the name of their file.
    static member Ending = ".out"
