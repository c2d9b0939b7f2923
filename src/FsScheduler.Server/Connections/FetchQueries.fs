namespace FsScheduler.Server

open System.IO
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Folders

/// Answers FETCH: the result of a finished task, wherever it is.
module FetchQueries =

    /// Results up to this size are read into memory: the bytes sent are surely those that were checked.
    let private memoryMax = 1024L * 1024L * 1L<B>

    let private no (message: string) =
        struct (FromScheduler.Error(ErrorCode.BadField, message), KeptContent.empty)

    let private published (task: TaskId) (name: string) (path: string) (hash: ContentHash) =
        let gone () =
            no
                $"the result of task {task}, {path}, is not there any more, or was replaced by that of a later task"

        try
            if hash.size <= memoryMax then
                let bytes = File.ReadAllBytes path

                if ResultFile.hashOf bytes = hash then
                    struct (FromScheduler.Fetch(task, name), Held(Bytes bytes))
                else
                    gone ()
            elif ResultFile.holds path hash then
                struct (FromScheduler.Fetch(task, name), Held(Spooled(path, hash.size)))
            else
                gone ()
        with
        | :? FileNotFoundException
        | :? DirectoryNotFoundException -> gone ()
        | :? IOException
        | :? System.UnauthorizedAccessException as error ->
            no $"the result of task {task}, {path}, cannot be read: {error.Message}"

    /// The name of a task, and the source of its results.
    let private submissionOf (task: TaskId) (events: PastEvent[]) =
        events
        |> Array.tryPick (fun (struct (_, _, event)) ->
            match event with
            | Event.Submitted(_, submission, _) -> Some submission
            | Event.Carried(Carried.Task carried) -> Some carried.submission
            | _ -> None)
        |> Option.map (fun submission ->
            match submission.Origin, TaskName.parse submission.Name with
            | Origin.Folder, Ok name -> submission.Name, OfFile name
            | _ -> submission.Name, OfTask task)
        |> Option.defaultValue ("", OfTask task)

    /// The latest event of a task, notes left out.
    let private lastOf (events: PastEvent[]) =
        events
        |> Array.tryFindBack (fun (struct (_, _, event)) ->
            match event with
            | Event.Noted _ -> false
            | _ -> true)
        |> Option.map (fun (struct (_, _, event)) -> event)

    /// <summary>The result of a task, as the payload of an answer; the file stays.</summary>
    /// <param name="history">Knows how the task ended.</param>
    /// <param name="targetOf">The path of a result, by source and name.</param>
    /// <param name="task">The task.</param>
    let answer (history: IHistory) (targetOf: ResultSource -> TaskName -> string) (task: TaskId) =
        let struct (events, _) = history.EventsOf task
        let name, source = submissionOf task events

        match lastOf events with
        | None ->
            no
                $"task {task} is not known: it never was, or it was finished so long ago that it is forgotten"
        | Some(Event.Completed(_, StoredResult hash)) ->
            match TaskName.parse name with
            | Ok parsed -> published task name (targetOf source parsed) hash
            | Error reason -> no $"task {task} is called '{name}': {reason}"
        | Some(Event.Carried(Carried.Key { error = None; result = result }))
        | Some(Event.Completed(_, KeptResult result)) ->
            struct (FromScheduler.Fetch(task, name), result)
        | Some(Event.Completed(_, NothingKept)) ->
            no
                $"the result of task {task} went to whoever submitted it, and is not kept; submit with --key, or --no-wait, to have it kept"
        | Some(Event.Carried(Carried.Key { error = Some reason }))
        | Some(Event.Cancelled(_, reason)) ->
            no $"task {task} has no result: it was cancelled: {reason}"
        | Some(Event.Quarantined(_, failure)) ->
            no $"task {task} has no result: it is in quarantine: {failure.error}"
        | Some _ ->
            no $"task {task} is not done yet; 'fs-scheduler explain {task}' says where it is"
