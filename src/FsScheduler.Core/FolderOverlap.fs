namespace FsScheduler.Core

/// One identity of a folder: two folders that share one are the same.
type FolderId =
    /// The path with all links resolved.
    | AtPath of string
    | WithInode of device: uint64 * inode: uint64
    /// Its path within a file system, wherever that file system is mounted.
    | OnDevice of device: string * path: string

type FolderPlace = {
    /// The path as the user gave it.
    named: string
    /// The path with all links resolved.
    path: string
    /// The identities of the folder, and of the file systems mounted below it.
    self: Set<FolderId>
    /// The identities of the folder and of all folders above it.
    chain: Set<FolderId>
    /// The identities of the file systems mounted below it, and of the folders above their origins.
    mounted: Set<FolderId>
}

type SchedulerFolders = {
    entrada: FolderPlace
    resultados: FolderPlace
    state: FolderPlace
    /// In the state folder; unknown files in the spool are deleted.
    spool: FolderPlace
    /// Where programs of this machine put their temporary files.
    temporary: FolderPlace
}

/// Refuses folders that overlap. The state folder may hold the other two, outside of its spool, since the scheduler
/// touches only its own files there. Every other overlap is refused, hidden or not.
module FolderOverlap =

    /// Whether `inner` is `outer`, or in it.
    let isWithin (outer: FolderPlace) (inner: FolderPlace) =
        not (Set.isEmpty (Set.intersect outer.self inner.chain))

    /// Whether a file system that is mounted below `outer` comes from `inner` or above it.
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
    /// <returns>The refusal, a sentence for the person who named the folders.</returns>
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
            // The state folder may hold what is mounted below the folder of inputs, as it may hold that folder itself.
            let isOfFiles =
                List.contains option [ "--entrada"; "--resultados" ] && outerOption <> spool

            if isWithin outer inner || isOfFiles && hasPartOf outer inner then
                Some(refusal option inner outerOption outer harm advice)
            else
                None)
        |> Option.map Error
        |> Option.defaultValue (Ok())
