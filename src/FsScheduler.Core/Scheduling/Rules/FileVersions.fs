namespace FsScheduler.Core

/// Versions of a file that come while an older one is worked on: the older ones give way, but not for ever.
module internal FileVersions =

    let superseded = "superseded by a newer version of the file"

    /// A version that was begun gives way to a newer one.
    let overtake (state: State) (task: Task) =
        let name = task.Submission.Name

        match state.Overtaken.TryGetValue name with
        | true, count -> state.Overtaken[name] <- count + 1
        | _ when state.Overtaken.Count < SchedulerLimits.overtakenFilesMax ->
            state.Overtaken[name] <- 1
        | _ -> ()

    /// Whether a version of a file may end, though there is a newer one: too many before it could not.
    let mayFinish (state: State) (task: Task) =
        task.Submission.Origin = Folder
        && match state.Overtaken.TryGetValue task.Submission.Name with
           | true, count -> count >= SchedulerLimits.overtakenMax
           | _ -> false
