namespace FsScheduler.Simulation.Tests.Crashes

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Simulation.Tests

/// What a scheduler knows that was restored, whatever was dropped.
module RestoreChecks =

    let private same what (known: 'a) (expected: 'a) =
        if known <> expected then
            violation $"{what}: restarted, it knows %A{known}, and it is %A{expected}"

    let private numbers (history: History) (scheduler: Scheduler) =
        let status = scheduler.Status
        same "done and cancelled" (struct (status.finished, status.cancelled)) history.Counts

        same
            "the latest task, event and session"
            (struct (scheduler.LastTask, scheduler.LastEvent, scheduler.LastSession))
            history.Highest

    let private files (history: History) (scheduler: Scheduler) =
        let known = [
            for KeyValue(name, file) in scheduler.TakenFiles do
                name, file.version
        ]

        let expected = [
            for KeyValue(name, version) in history.Files do
                name, version
        ]

        same "files" (List.sortBy fst known) (List.sortBy fst expected)

        same
            "results that are not flushed"
            (scheduler.Unflushed |> Seq.sortBy (fun (struct (name, _)) -> name) |> Seq.toList)
            (history.Unflushed |> List.sortBy (fun (struct (name, _)) -> name))

    let private owners (history: History) (scheduler: Scheduler) =
        let known = [
            for struct (name, source) in scheduler.Owners do
                string name, source
        ]

        let expected = [
            for KeyValue(name, source) in history.Owners do
                string name, source
        ]

        same "owners" (List.sortBy fst known) (List.sortBy fst expected)

    /// What is not of single tasks.
    let beside (history: History) (scheduler: Scheduler) =
        numbers history scheduler
        files history scheduler
        owners history scheduler

    /// <summary>All that it knows is what it would know if nothing were dropped.</summary>
    /// <param name="whole">Restored from everything.</param>
    /// <param name="scheduler">Restored from what the journal has.</param>
    let asIfWhole (whole: Scheduler) (scheduler: Scheduler) =
        let expected = Description.ofState whole
        let known = Description.ofState scheduler

        for missing in List.except known expected do
            raise (Violation $"restarted, it does not know that: {missing}")

        for wrong in List.except expected known do
            raise (Violation $"restarted, it believes that: {wrong}")
