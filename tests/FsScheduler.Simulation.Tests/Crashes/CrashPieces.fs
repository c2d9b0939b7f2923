namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Simulation.Tests

/// Which pieces are done, as the events of all lives say.
[<Sealed>]
type CrashPieces() =
    let wholes =
        Dictionary<TaskId, struct (struct (Size[] * Pipeline voption) * HashSet<int>)>()

    /// <summary>The next event.</summary>
    /// <param name="event">Of any kind.</param>
    /// <param name="isChecked">Of this life: nothing that is done may be done again.</param>
    member _.Take(event: Event, isChecked: bool) =
        let must isSo text = must (not isChecked || isSo) text

        match event with
        | Event.Split(attempt, _, others, cuts) ->
            match wholes.TryGetValue attempt.task with
            | true, struct (known, _) when known = struct (cuts, others) -> ()
            | _ -> wholes[attempt.task] <- struct (struct (cuts, others), HashSet())
        | Event.Submitted(id, submission, _) ->
            match submission.Origin with
            | Origin.Piece(whole, index) ->
                match wholes.TryGetValue whole with
                | true, struct (_, parts) ->
                    must
                        (not (parts.Remove index))
                        $"task {id} does piece {index} of task {whole}, which is done"
                | _ -> must false $"task {id} is a piece of task {whole}, which is not split"
            | Origin.Folder
            | Origin.Client _ -> ()
        | Event.Part(whole, index, _) ->
            match wholes.TryGetValue whole with
            | true, struct (_, parts) ->
                must (parts.Add index) $"there are two parts {index} of task {whole}"
            | _ -> must false $"task {whole} has a part and is not split"
        | Event.PartLost(whole, index) ->
            match wholes.TryGetValue whole with
            | true, struct (_, parts) ->
                must (parts.Remove index) $"part {index} of task {whole} is lost, and never was"
            | _ -> must false $"a part of task {whole} is lost, which is not split"
        | Event.Retried id ->
            match wholes.TryGetValue id with
            | true, struct (struct (cuts, _), parts) when cuts.Length = parts.Count ->
                wholes.Remove id |> ignore
            | _ -> ()
        | Event.Assigned({ task = id }, _, _)
        | Event.Advanced({ task = id }, _, _)
        | Event.Accepted({ task = id }, _)
        | Event.Completed({ task = id }, _)
        | Event.Cancelled(id, _) -> wholes.Remove id |> ignore
        | Event.Speculated _
        | Event.Delayed _
        | Event.Woken _
        | Event.Requeued _
        | Event.Claimed _
        | Event.Quarantined _
        | Event.Gone _
        | Event.Joined _
        | Event.Left _
        | Event.Opened _
        | Event.Noted _
        | Event.Carried _
        | Event.Dropped _ -> ()
