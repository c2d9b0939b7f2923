namespace FsScheduler.Machine

open FsScheduler.Core

/// Input files that change or are deleted.
module internal FileChanges =

    /// Cancels the task of an attempt in these states; a publishing version has to end before the next one is
    /// published.
    let private cancelIn (state: State) attempt (isThere: TaskState -> bool) =
        match state.Current attempt with
        | null -> ()
        | task ->
            if isThere task.State then
                Finish.cancel state (Finish.wholeOf state task) "the file changed or went"

    /// The file of an attempt is no longer the version that its task was made from.
    let changed (state: State) attempt =
        cancelIn state attempt (fun state -> state.IsRunning || state.IsSplit)

    /// The file of a result to be published has changed.
    let outdated (state: State) attempt =
        match state.Current attempt with
        | null -> ()
        | task ->
            if task.State = TaskState.Publishing && task.Submission.Origin = Folder then
                FileVersions.overtake state task

        cancelIn state attempt _.IsPublishing

    /// The file was deleted.
    let deleted (state: State) name =
        state.Record(Event.Gone name)
        state.Overtaken.Remove name |> ignore

        // The newest version, then the one that it waits for, if any.
        let rec forget () =
            match state.Files.TryGetValue name with
            | true, task when task.State <> TaskState.Publishing ->
                Finish.cancel state task "the file is gone"
                forget ()
            | _ -> ()

        forget ()
