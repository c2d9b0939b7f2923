namespace FsScheduler.Server

open FsScheduler.Platform

/// What is left until everything is done.
module internal UnfinishedWork =

    let private namedMax = 10

    let private listed (names: string seq) count =
        let shown = names |> Seq.truncate namedMax |> Seq.map Terminal.printable
        String.concat ", " shown + (if count > namedMax then ", …" else "")

    /// <summary>A sentence for people.</summary>
    /// <param name="tasks">The names of unfinished tasks that are not in quarantine.</param>
    /// <param name="pending">How many files were not taken.</param>
    /// <param name="names">The names of some of them.</param>
    /// <param name="awaited">The file that has been waiting longest, as a sentence, or null.</param>
    let sentence
        (tasks: string[])
        (pending: int)
        (names: string[])
        (awaited: string | null)
        : string =
        [
            if tasks.Length > 0 then
                $"{tasks.Length} tasks ({listed tasks tasks.Length})"
            if pending > 0 then
                $"{pending} files that were not taken ({listed names pending})"
            match awaited with
            | null -> ()
            | awaited -> awaited
        ]
        |> String.concat "; "
