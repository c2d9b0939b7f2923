namespace FsScheduler.Machine

open FsScheduler.Core

/// Newer versions of a file supersede the one that is worked on, but only `overtakenMax` times in a row.
module internal FileVersions =

    let superseded = "superseded by a newer version of the file"

    /// Counts a begun version that is superseded.
    let overtake (state: State) (task: Task) =
        let name = task.Submission.Name

        match state.Overtaken.TryGetValue name with
        | true, count -> state.Overtaken[name] <- count + 1
        | _ when state.Overtaken.Count < SchedulerLimits.overtakenFilesMax ->
            state.Overtaken[name] <- 1
        | _ -> ()

    /// Whether a version may finish although there is a newer one: too many before it were superseded.
    let mayFinish (state: State) (task: Task) =
        task.Submission.Origin = Folder
        && match state.Overtaken.TryGetValue task.Submission.Name with
           | true, count -> count >= SchedulerLimits.overtakenMax
           | _ -> false
