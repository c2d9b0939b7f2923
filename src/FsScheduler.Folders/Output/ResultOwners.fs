namespace FsScheduler.Folders

open System
open System.Collections.Concurrent
open FsScheduler.Core

/// What is to be remembered of a name over a restart: whose it is, or that nobody needs to know any more.
type ResultOwner = { name: TaskName; owner: ResultSource voption }

/// <summary>
/// Whose which result is. No result replaces one of another source: it goes under another name, by the rule of
/// <c>ResultName</c>. What is not known to be anybody's is that of the input of the same name, so that the many results of
/// files take no memory here. Safe to call from any thread.
/// </summary>
/// <param name="results">The folder of results.</param>
/// <param name="isInput">Whether a file of that name is an input now.</param>
/// <param name="recorded">What an earlier run knew.</param>
[<Sealed>]
type ResultOwners
    (
        results: IResultFolder,
        isInput: TaskName -> bool,
        recorded: struct (TaskName * ResultSource) seq
    ) =
    let owners = ConcurrentDictionary<string, struct (TaskName * ResultSource)>()

    // Two results of one name are put there one after the other, so that the second sees the first.
    let locks = Array.init 256 (fun _ -> obj ())

    do
        for struct (name, owner) in recorded do
            owners[results.Fold name] <- struct (name, owner)

    let lockOf (name: TaskName) =
        locks[((results.Fold name).GetHashCode() &&& Int32.MaxValue) % locks.Length]

    let recordedOf (name: TaskName) : ResultSource voption =
        match owners.TryGetValue(results.Fold name) with
        | true, struct (_, owner) -> ValueSome owner
        | _ ->
            match results.NameThere name with
            | ValueSome other when other <> name -> ValueSome(OfFile other)
            | _ -> ValueNone

    let holderOf source name =
        ResultName.holder source name (recordedOf name) (fun () -> results.IsThere name) (fun () ->
            isInput name)

    /// What changes when a result of that source has got a name; none: that is what everybody assumes.
    let own (source: ResultSource) (name: TaskName) : ResultOwner voption =
        let key = results.Fold name

        if source = OfFile name then
            if owners.TryRemove(key, ref Unchecked.defaultof<_>) then
                ValueSome { name = name; owner = ValueNone }
            else
                ValueNone
        else
            match owners.TryGetValue key with
            | true, struct (known, owner) when known = name && owner = source -> ValueNone
            | _ ->
                owners[key] <- struct (name, source)
                ValueSome { name = name; owner = ValueSome source }

    /// Under the lock of the name, so that it is still so when it is put there.
    let tryPut source name (put: TaskName -> bool -> Result<unit, PublishFailure>) =
        lock (lockOf name) (fun () ->
            match holderOf source name with
            | NameHolder.Other -> Error(Occupied(results.TargetOf name))
            | holder ->
                put name holder.IsSame |> Result.map (fun () -> struct (name, own source name)))

    /// <summary>Puts a result, or an error, in the first place that nobody else has.</summary>
    /// <param name="source">Whose it is.</param>
    /// <param name="name">Its own name.</param>
    /// <param name="put">Does it, and is told whether it may replace what is there. Where the name turns out to be
    /// occupied, it is called for the next one.</param>
    /// <returns>The name that it has got, and what is to be remembered of that.</returns>
    member _.Put
        (source: ResultSource, name: TaskName, put: TaskName -> bool -> Result<unit, PublishFailure>) : Result<
            struct (TaskName * ResultOwner voption),
            PublishFailure
                                                                                                         >
        =
        let mutable outcome = Error(Occupied(results.TargetOf name))
        let names = (ResultName.candidates source name).GetEnumerator()
        let mutable goOn = names.MoveNext()

        while goOn do
            outcome <- tryPut source names.Current put

            goOn <-
                match outcome with
                | Error(Occupied _) -> names.MoveNext()
                | Ok _
                | Error _ -> false

        names.Dispose()
        outcome

    /// Whether nobody else is known to have a name, whatever stands there.
    member _.MayHave(source: ResultSource, name: TaskName) : bool =
        match recordedOf name with
        | ValueSome owner -> owner = source
        | ValueNone -> source = OfFile name || not (isInput name)

    /// Notes what an earlier run did and could not note any more: this result has this name.
    member _.Note(source: ResultSource, name: TaskName) : ResultOwner voption = own source name

    /// The name that the latest result of a source has, or that its first one would have.
    member _.Find(source: ResultSource, name: TaskName) : TaskName =
        let isHeld candidate =
            match recordedOf candidate with
            | ValueSome owner -> owner = source
            | ValueNone -> source = OfFile candidate

        ResultName.candidates source name
        |> Seq.truncate 16
        |> Seq.tryFind isHeld
        |> Option.defaultValue name

    /// Every name that is somebody's of whom its own name does not tell.
    member _.All: struct (TaskName * ResultSource)[] =
        owners.Values
        |> Seq.sortBy (fun (struct (name, _)) -> string name)
        |> Seq.toArray

    /// <summary>If what stood under a name is there no more, nobody needs to know whose it was.</summary>
    /// <param name="name">The name.</param>
    /// <param name="remember">Told of it before anybody else can have the name.</param>
    member _.Forget(name: TaskName, remember: ResultOwner -> unit) : unit =
        lock (lockOf name) (fun () ->
            if
                not (results.IsThere name)
                && owners.TryRemove(results.Fold name, ref Unchecked.defaultof<_>)
            then
                remember { name = name; owner = ValueNone })
