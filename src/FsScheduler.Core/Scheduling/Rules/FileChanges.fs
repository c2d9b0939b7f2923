namespace FsScheduler.Core

/// What becomes of the tasks of files that change or go.
module internal FileChanges =

    /// Cancels the task of an attempt that is in such a state: a publishing one has to end before the next version may be
    /// published.
    let private cancelIn (state: State) attempt (isThere: TaskState -> bool) =
        match state.Current attempt with
        | null -> ()
        | task ->
            if isThere task.State then
                Finish.cancel state (Finish.wholeOf state task) "the file changed or went"

    /// The file that an attempt reads, or has read, is no longer the version that its task was made from.
    let changed (state: State) attempt =
        cancelIn state attempt (fun state -> state.IsRunning || state.IsSplit)

    /// The file of a result that was to be published has changed.
    let outdated (state: State) attempt =
        match state.Current attempt with
        | null -> ()
        | task ->
            if task.State = TaskState.Publishing && task.Submission.Origin = Folder then
                FileVersions.overtake state task

        cancelIn state attempt _.IsPublishing

    /// The file is gone.
    let deleted (state: State) name =
        state.Record(Event.Gone name)
        state.Overtaken.Remove name |> ignore

        // The newest version, and then the one that it waits for, if there is one.
        let rec forget () =
            match state.Files.TryGetValue name with
            | true, task when task.State <> TaskState.Publishing ->
                Finish.cancel state task "the file is gone"
                forget ()
            | _ -> ()

        forget ()
