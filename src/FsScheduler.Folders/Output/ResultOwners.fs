namespace FsScheduler.Folders

open System
open System.Collections.Concurrent
open System.Threading.Tasks
open FsScheduler.Core

/// The owner of a name, to be remembered over a restart; none: to be forgotten.
type ResultOwner = { name: TaskName; owner: ResultSource voption }

/// <summary>
/// The owners of the names of results. No result replaces one of another source, but gets another name by the rule of
/// <c>ResultName</c>. A name without a recorded owner belongs to the input of the same name, so that results of files
/// take no memory here. Safe for any thread.
/// </summary>
/// <param name="results">The folder of results.</param>
/// <param name="isInput">Whether a file of this name is an input now.</param>
/// <param name="recorded">The owners known to an earlier run.</param>
[<Sealed>]
type ResultOwners
    (
        results: IResultFolder,
        isInput: TaskName -> bool,
        recorded: struct (TaskName * ResultSource) seq
    ) =
    let owners = ConcurrentDictionary<string, struct (TaskName * ResultSource)>()

    /// Names whose owners are being forgotten, until that is durable.
    let forgetting = ConcurrentDictionary<string, Task>()

    // Results of one name are published one after the other, so that the second sees the first.
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

    /// Records that a result of a source has a name; none if nothing changes.
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

    /// Completes when the owner is durably forgotten.
    let forgotten (key: string) (remembered: Task) : Task =
        task {
            do! remembered
            forgetting.TryRemove key |> ignore
        }

    let isForgetting (key: string) =
        match forgetting.TryGetValue key with
        | true, remembered -> not remembered.IsCompleted
        | _ -> false

    /// Publishes under the lock of the name, so that its owner stays the same meanwhile. The old owner of a name is
    /// forgotten first, because a restart finds a result only under a name that no other source owns.
    let tryPut source name (put: TaskName -> bool -> Result<unit, PublishFailure>) =
        lock (lockOf name) (fun () ->
            let key = results.Fold name

            match holderOf source name with
            | NameHolder.Other -> Error(Occupied(results.TargetOf name))
            | holder when isForgetting key || holder.IsNobody && owners.ContainsKey key ->
                Error(Abandoned name)
            | holder ->
                put name holder.IsSame |> Result.map (fun () -> struct (name, own source name)))

    /// <summary>Publishes a result or an error under the first name that nobody else has.</summary>
    /// <param name="source">The owner of the result.</param>
    /// <param name="name">Its own name.</param>
    /// <param name="put">Publishes under a name, and is told whether to replace an existing file. Called with the next
    /// name if this one turns out to be occupied.</param>
    /// <returns>The name of the result, and what is to be remembered of its owner.</returns>
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

    /// Whether no other owner of the name is known, whatever file is there.
    member _.MayHave(source: ResultSource, name: TaskName) : bool =
        match recordedOf name with
        | ValueSome owner -> owner = source
        | ValueNone -> source = OfFile name || not (isInput name)

    /// Records a result that an earlier run published and could not record any more.
    member _.Note(source: ResultSource, name: TaskName) : ResultOwner voption = own source name

    /// The name of the latest result of a source, or that its first one would have.
    member _.Find(source: ResultSource, name: TaskName) : TaskName =
        let isHeld candidate =
            match recordedOf candidate with
            | ValueSome owner -> owner = source
            | ValueNone -> source = OfFile candidate

        ResultName.candidates source name
        |> Seq.truncate 16
        |> Seq.tryFind isHeld
        |> Option.defaultValue name

    /// Every name that belongs to another source than the input of that name.
    member _.All: struct (TaskName * ResultSource)[] =
        owners.Values
        |> Seq.sortBy (fun (struct (name, _)) -> string name)
        |> Seq.toArray

    /// <summary>Forgets the owner of a name without a file. Until that is durable, nobody can have the name.</summary>
    /// <param name="name">The name.</param>
    /// <param name="remember">Records the change; completes when that is durable.</param>
    /// <returns>Completes when the owner is forgotten, or is not to be.</returns>
    member _.ForgetAsync(name: TaskName, remember: ResultOwner -> Task) : Task =
        let key = results.Fold name

        lock (lockOf name) (fun () ->
            match forgetting.TryGetValue key with
            | true, remembered when not remembered.IsCompleted -> remembered
            | _ when
                not (results.IsThere name) && owners.TryRemove(key, ref Unchecked.defaultof<_>)
                ->
                let remembered = forgotten key (remember { name = name; owner = ValueNone })

                if not remembered.IsCompleted then
                    forgetting[key] <- remembered

                remembered
            | _ -> Task.CompletedTask)
