namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// Tasks by number. Numbers ascend, so a page of them is an array: 8 bytes a task. A page is freed with its last task.
type internal TaskTable() =
    static let pageBits = 12
    static let pageSize = 1 <<< pageBits

    let pages = List<Task[] | null>()
    let counts = List<int>()
    let mutable count = 0

    let page (id: TaskId) = int (int64 id >>> pageBits)
    let index (id: TaskId) = int (int64 id &&& int64 (pageSize - 1))

    /// Frees a page that is empty.
    let letGo page =
        if page >= 0 && counts[page] = 0 then
            pages[page] <- null

    member _.Count = count

    member _.Find(id: TaskId) : Task | null =
        if id < 0L<taskId> || int64 id >>> pageBits >= int64 pages.Count then
            null
        else
            match pages[page id] with
            | null -> null
            | tasks -> tasks[index id]

    member _.Add(task: Task) =
        while pages.Count <= page task.Id do
            letGo (pages.Count - 1)
            pages.Add null
            counts.Add 0

        let tasks =
            match pages[page task.Id] with
            | null ->
                let tasks = Array.zeroCreate pageSize
                pages[page task.Id] <- tasks
                tasks
            | tasks -> tasks

        tasks[index task.Id] <- task
        counts[page task.Id] <- counts[page task.Id] + 1
        count <- count + 1

    member table.Remove(task: Task) =
        match pages[page task.Id] with
        | null -> ()
        | tasks ->
            tasks[index task.Id] <- Unchecked.defaultof<Task>
            let page = page task.Id
            counts[page] <- counts[page] - 1
            count <- count - 1

            // More tasks will come into the last page: it is not freed.
            if page < pages.Count - 1 then
                letGo page

    /// The tasks of higher numbers, in order. Freed pages cost nothing.
    member _.After(id: TaskId) : Task seq =
        seq {
            let first = min (int64 pages.Count) (max 0L (int64 id) >>> pageBits)

            for index in int first .. pages.Count - 1 do
                match pages[index] with
                | null -> ()
                | tasks ->
                    for task in tasks do
                        if not (obj.ReferenceEquals(task, null)) && task.Id > id then
                            task
        }

    /// Runs an action on each task, in order; faster than `ToSeq`.
    member _.Iter(action: Task -> unit) =
        for page in pages do
            match page with
            | null -> ()
            | tasks ->
                for task in tasks do
                    if not (obj.ReferenceEquals(task, null)) then
                        action task

    member _.ToSeq() : Task seq =
        pages
        |> Seq.collect (fun page ->
            match page with
            | null -> Seq.empty
            | tasks -> tasks |> Seq.filter (fun task -> not (obj.ReferenceEquals(task, null))))
