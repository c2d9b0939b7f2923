namespace FsScheduler.Core

/// One of the ways to know a folder again: two folders that share one are the same.
type FolderId =
    /// Its path without any link in it.
    | AtPath of string
    | WithInode of device: uint64 * inode: uint64
    /// Its path within a file system, wherever that is mounted.
    | OnDevice of device: string * path: string

/// Where a folder is.
type FolderPlace = {
    /// As it was named.
    named: string
    /// Its path without any link in it.
    path: string
    /// The ways to know it again, and also those of what is mounted below it.
    self: Set<FolderId>
    /// Those of the folder and of all folders above it.
    chain: Set<FolderId>
    /// Those of what is mounted below it, and of all folders above these, where they come from.
    mounted: Set<FolderId>
}

/// The folders of a scheduler.
type SchedulerFolders = {
    entrada: FolderPlace
    resultados: FolderPlace
    state: FolderPlace
    /// In the state folder; what nobody knows there is deleted.
    spool: FolderPlace
    /// Where programs of this machine put their temporary files.
    temporary: FolderPlace
}

/// Which folders cannot be in which others. The state folder may hold the two others, outside of its spool: it writes
/// to nothing that it does not know. Everything else that overlaps is refused, hidden or not.
module FolderOverlap =

    /// Whether a folder is another one, or in it.
    let isWithin (outer: FolderPlace) (inner: FolderPlace) =
        not (Set.isEmpty (Set.intersect outer.self inner.chain))

    /// Whether a folder that is in another one is mounted below a folder.
    let private hasPartOf (outer: FolderPlace) (inner: FolderPlace) =
        not (Set.isEmpty (Set.intersect outer.mounted inner.self))

    let private isSame (outer: FolderPlace) (inner: FolderPlace) =
        isWithin outer inner && isWithin inner outer

    let private describe (place: FolderPlace) =
        if place.named = place.path then
            $"'{place.named}'"
        else
            $"'{place.named}' ({place.path})"

    let private refusal option (inner: FolderPlace) outerOption (outer: FolderPlace) harm advice =
        let relation =
            if isSame outer inner then "is"
            elif isWithin outer inner then "is in"
            else "has a part that is mounted in"

        $"{option}: {describe inner} {relation} {outerOption}, {describe outer}: {harm}; {advice}"

    /// <summary>The first overlap that does harm.</summary>
    /// <returns>A sentence for the person who named the folders.</returns>
    let check (folders: SchedulerFolders) : Result<unit, string> =
        let entrada, resultados, state, spool =
            "the folder of inputs", "the folder of results", "the state folder", "the spool folder"

        let rules = [
            "--resultados",
            folders.resultados,
            entrada,
            folders.entrada,
            "results would be taken for inputs, and theirs again",
            "name a folder outside it with --resultados"
            "--entrada",
            folders.entrada,
            resultados,
            folders.resultados,
            "results could be taken for inputs",
            "name a folder outside it with --entrada"
            "--state",
            folders.state,
            entrada,
            folders.entrada,
            "the scheduler's own files would be among the inputs",
            "name a folder outside it with --state"
            "--state",
            folders.state,
            resultados,
            folders.resultados,
            "the scheduler's own files would be among the results",
            "name a folder outside it with --state"
            "--entrada",
            folders.entrada,
            spool,
            folders.spool,
            "the scheduler deletes what it does not know there",
            "name a folder outside it with --entrada"
            "--resultados",
            folders.resultados,
            spool,
            folders.spool,
            "the scheduler deletes what it does not know there",
            "name a folder outside it with --resultados"
            "TMPDIR",
            folders.temporary,
            entrada,
            folders.entrada,
            "temporary files would be taken for inputs",
            "set TMPDIR to a folder outside it"
        ]

        rules
        |> List.tryPick (fun (option, inner, outerOption, outer, harm, advice) ->
            // The state folder may hold what is mounted below the folder of inputs, as it may hold that folder.
            let isOfFiles =
                List.contains option [ "--entrada"; "--resultados" ] && outerOption <> spool

            if isWithin outer inner || isOfFiles && hasPartOf outer inner then
                Some(refusal option inner outerOption outer harm advice)
            else
                None)
        |> Option.map Error
        |> Option.defaultValue (Ok())
